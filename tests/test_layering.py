"""The rules of docs/architecture.md, executed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chime_gateway

ROOT = Path(chime_gateway.__file__).parent
TESTS = Path(__file__).parent

#: Lower may not import higher.  Modules directly in the package are named.
LAYERS = {
    "errors": 0,
    "audio": 0,
    "outcomes": 0,
    "history": 0,
    "speaking_rate": 0,
    "release": 0,
    "interfaces": 0,
    "services": 0,
    "switchboard": 0,
    "settings": 0,
    "wire": 1,
    "codec": 1,
    "media": 2,
    "net": 2,
    "rtp": 3,
    "webrtc": 3,
    "call": 3,
    "carriers": 4,
    "agents": 4,
    "store": 5,
    "capture": 5,
    "http": 5,
    "aws": 5,
    "sim": 5,
    "app": 6,
    "cli": 6,
}

#: Room -> prefixes it must not import besides.
FORBIDDEN = {
    "settings": ("twisted", "autobahn", "treq", "chime_gateway.interfaces"),
    "wire": (
        *("twisted", "autobahn", "treq", "numpy", "asyncio", "time", "socket"),
        "chime_gateway.codec",
    ),
    "codec": (
        *("twisted", "autobahn", "treq", "asyncio", "time", "socket"),
        "chime_gateway.wire",
    ),
    "media": ("autobahn", "treq", "chime_gateway.wire", "chime_gateway.net"),
    "net": ("chime_gateway.media", "chime_gateway.codec", "chime_gateway.interfaces"),
    "rtp": (
        *("autobahn", "treq", "chime_gateway.call", "chime_gateway.interfaces"),
        *("chime_gateway.wire.sip", "chime_gateway.webrtc"),
    ),
    "webrtc": (
        *("autobahn", "treq", "numpy", "chime_gateway.call"),
        *("chime_gateway.interfaces", "chime_gateway.wire.sip"),
    ),
    "call": (
        *("autobahn", "treq", "numpy", "chime_gateway.wire", "chime_gateway.codec"),
        *("chime_gateway.net", "chime_gateway.rtp", "chime_gateway.webrtc"),
    ),
    "carriers": ("chime_gateway.agents", "chime_gateway.call"),
    "agents": ("chime_gateway.carriers", "chime_gateway.call"),
    "store": (
        *("chime_gateway.carriers", "chime_gateway.agents", "chime_gateway.http"),
        *("chime_gateway.wire", "chime_gateway.aws"),
    ),
    "capture": (
        *("chime_gateway.carriers", "chime_gateway.agents", "chime_gateway.http"),
        *("chime_gateway.wire", "chime_gateway.store", "chime_gateway.aws"),
    ),
    "http": ("chime_gateway.carriers", "chime_gateway.agents", "chime_gateway.wire"),
    "aws": (
        *("chime_gateway.carriers", "chime_gateway.agents", "chime_gateway.http"),
        *("chime_gateway.call", "chime_gateway.store", "chime_gateway.wire"),
    ),
    "sim": (
        *("chime_gateway.carriers", "chime_gateway.agents", "chime_gateway.wire"),
        *("chime_gateway.rtp", "chime_gateway.call", "chime_gateway.http"),
        "chime_gateway.webrtc",
    ),
}

#: Folders that are a list of one interface may be longer than the others.
LISTS = {"settings", "call/tools", "http/api/requests", "wire/media_stream"}
MOST_MODULES = 12

#: One file each by their nature.
LONG_BY_NATURE = ("aws/sma.py", "store/migrations/")
MOST_LINES = 400

#: What plays the other side, and nobody imports at module level besides.
WITH_SIMULATOR = (
    "chime_gateway.sim",
    "chime_gateway.cli.demo",
    "chime_gateway.cli.keys",
    "chime_gateway.cli.simulate",
)

#: Folders of the tests that have no room in the package to mirror.
TEST_ROOMS = {
    *("support", "whole_calls", "integration", "deploy", "benchmarks", "counts"),
}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names_of(node: ast.AST, path: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}: relative import"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported(path: Path) -> tuple[str, ...]:
    return tuple(
        name for node in ast.walk(tree_of(path)) for name in names_of(node, path)
    )


@cache
def imported_at_once(path: Path) -> tuple[str, ...]:
    """What importing this module imports: neither in functions nor for types only."""
    found: list[str] = []
    waiting: list[ast.AST] = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting.extend(node.orelse)
            continue
        found.extend(names_of(node, path))
        waiting.extend(ast.iter_child_nodes(node))
    return tuple(found)


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def modules() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        if path != ROOT / "__init__.py":
            yield path


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    return ".".join(("chime_gateway", *path.relative_to(ROOT).with_suffix("").parts))


def room(path: Path) -> str:
    return place(path).split("/")[0].removesuffix(".py")


class LayeringTests(SynchronousTestCase):
    def test_every_module_lives_in_a_known_room(self) -> None:
        self.assertEqual({room(path) for path in modules()}, set(LAYERS))

    def test_a_layer_imports_only_its_own_and_lower_ones(self) -> None:
        bad = []
        for path in modules():
            for name in imported(path):
                parts = name.split(".")
                if parts[0] != "chime_gateway" or len(parts) < 2:
                    continue
                target = LAYERS.get(parts[1])
                if target is not None and target > LAYERS[room(path)]:
                    bad.append(f"{place(path)} imports {name}")
        self.assertEqual(bad, [])

    def test_no_room_imports_what_it_must_not_know(self) -> None:
        bad = [
            f"{place(path)} imports {name}"
            for path in modules()
            for name in imported(path)
            if any(is_under(name, prefix) for prefix in FORBIDDEN.get(room(path), ()))
        ]
        self.assertEqual(bad, [])

    def test_there_is_no_circle(self) -> None:
        paths = {module(path): path for path in modules()}
        graph = {
            name: {
                target
                for imported_name in imported_at_once(path)
                for target in (imported_name, imported_name.rpartition(".")[0])
                if target in paths and target != name
            }
            for name, path in paths.items()
        }
        # What imports nothing that is left is taken away, until nothing changes.
        left = set(graph)
        while free := {name for name in left if not graph[name] & left}:
            left -= free
        self.assertEqual(left, set())

    def test_nothing_imports_the_global_reactor_at_module_level(self) -> None:
        bad = [
            place(path)
            for path in modules()
            if "twisted.internet.reactor" in set(imported_at_once(path))
        ]
        self.assertEqual(bad, [])

    def test_only_the_settings_read_the_environment(self) -> None:
        names = {"environ", "environb", "getenv", "getenvb"}
        users = {
            place(path)
            for path in modules()
            for node in ast.walk(tree_of(path))
            if (isinstance(node, ast.Attribute) and node.attr in names)
            or any(name in {f"os.{n}" for n in names} for name in names_of(node, path))
        }
        # The Lambda is a program of its own.
        self.assertEqual(users, {"settings/sources.py", "aws/sma.py"})

    def test_the_simulator_is_imported_only_when_asked_for(self) -> None:
        bad = [
            f"{place(path)} imports {name}"
            for path in modules()
            if not any(is_under(module(path), one) for one in WITH_SIMULATOR)
            for name in imported_at_once(path)
            if any(is_under(name, one) for one in WITH_SIMULATOR)
        ]
        self.assertEqual(bad, [])

    def test_the_lambda_needs_the_standard_library_only(self) -> None:
        bad = {
            name
            for name in imported(ROOT / "aws" / "sma.py")
            if name.split(".")[0] not in sys.stdlib_module_names
        }
        self.assertEqual(bad, set())


class SizeTests(SynchronousTestCase):
    def test_a_folder_can_be_seen_at_a_glance(self) -> None:
        counts: dict[str, int] = {}
        for path in modules():
            if path.name != "__init__.py":
                folder = path.parent.relative_to(ROOT).as_posix()
                counts[folder] = counts.get(folder, 0) + 1
        bad = {
            folder: count
            for folder, count in counts.items()
            if count > MOST_MODULES and folder not in LISTS
        }
        self.assertEqual(bad, {})

    def test_a_long_file_wants_a_second_noun(self) -> None:
        long = {
            path.relative_to(top.parent).as_posix()
            for top in (ROOT, TESTS)
            for path in top.rglob("*.py")
            if len(path.read_text(encoding="utf-8").splitlines()) > MOST_LINES
            and not (top == ROOT and place(path).startswith(LONG_BY_NATURE))
        }
        self.assertEqual(long, set())


class SuiteTests(SynchronousTestCase):
    """Both runners must see the same tests (a bare function is seen by one)."""

    def test_the_tests_mirror_the_package(self) -> None:
        bad = {
            path.parent.relative_to(TESTS).as_posix()
            for path in TESTS.rglob("test_*.py")
            if path.parent != TESTS
            and path.relative_to(TESTS).parts[0] not in TEST_ROOMS
            and not (ROOT / path.parent.relative_to(TESTS)).is_dir()
        }
        self.assertEqual(bad, set())

    def test_every_test_is_a_method_of_a_class(self) -> None:
        bad = [
            f"{path.name}: {node.name}"
            for path in sorted(TESTS.rglob("test_*.py"))
            for node in tree_of(path).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test")
        ]
        self.assertEqual(bad, [])

    def test_no_synchronous_test_is_a_coroutine(self) -> None:
        bad = [
            f"{path.name}: {method.name}"
            for path in sorted(TESTS.rglob("test_*.py"))
            for node in tree_of(path).body
            if isinstance(node, ast.ClassDef)
            and any(
                isinstance(base, ast.Name) and base.id == "SynchronousTestCase"
                for base in node.bases
            )
            for method in node.body
            if isinstance(method, ast.AsyncFunctionDef)
        ]
        self.assertEqual(bad, [])
