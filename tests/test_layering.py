"""The rules of docs/architecture.md, executed."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chime_gateway

ROOT = Path(chime_gateway.__file__).parent
TESTS = Path(__file__).parent

#: Lower may not import higher.  Modules directly in the package are named.
LAYERS = {
    "errors": 0,
    "frames": 0,
    "settings": 0,
    "interfaces": 0,
    "config": 0,
    "config_sip": 0,
    "config_agents": 0,
    "config_aws": 0,
    "config_store": 0,
    "config_values": 0,
    "profiles": 0,
    "retirements": 0,
    "transcribers": 0,
    "address": 0,
    "telephone": 0,
    "wire": 1,
    "codec": 1,
    "media": 2,
    "net": 2,
    "call": 3,
    "legs": 4,
    "agents": 4,
    "store": 5,
    "ops": 5,
    "sim": 5,
    "aws": 5,
    "kept": 6,
    "service": 6,
    "tap": 6,
    "demo": 6,
    "cli": 6,
    "cli_aws": 6,
    "cli_calls": 6,
    "cli_simulate": 6,
}

#: package -> prefixes it must not import besides.
FORBIDDEN = {
    "wire": (
        *("twisted", "autobahn", "treq", "numpy", "asyncio", "time", "socket"),
        "chime_gateway.codec",
    ),
    "codec": ("twisted", "autobahn", "treq", "asyncio", "time", "chime_gateway.wire"),
    "media": ("autobahn", "treq", "chime_gateway.wire", "chime_gateway.net"),
    "call": (
        *("autobahn", "treq", "numpy", "chime_gateway.wire", "chime_gateway.codec"),
        "chime_gateway.net",
    ),
    "net": ("chime_gateway.media", "chime_gateway.codec", "chime_gateway.interfaces"),
    "legs": ("chime_gateway.agents", "chime_gateway.call"),
    "agents": ("chime_gateway.legs", "chime_gateway.call"),
    "store": ("chime_gateway.legs", "chime_gateway.agents", "chime_gateway.ops"),
    "sim": ("chime_gateway.legs", "chime_gateway.agents", "chime_gateway.wire"),
}


#: What plays the other side, and nobody imports at module level besides.
WITH_SIMULATOR = ("sim", "demo", "cli_simulate")


def imported(path: Path) -> Iterator[str]:
    yield from names_imported(path, ast.walk(parsed(path)))


def imported_at_once(path: Path) -> Iterator[str]:
    """By the module itself, not by its functions."""
    yield from names_imported(path, parsed(path).body)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def names_imported(path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def room(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def modules() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        if path != ROOT / "__init__.py":
            yield path


class LayeringTests(SynchronousTestCase):
    def test_every_module_lives_in_a_known_room(self) -> None:
        self.assertEqual({room(path) for path in modules()} - set(LAYERS), set())

    def test_a_layer_imports_only_its_own_and_lower_ones(self) -> None:
        bad = []
        for path in modules():
            for name in imported(path):
                parts = name.split(".")
                if parts[0] != "chime_gateway" or len(parts) < 2:
                    continue
                target = LAYERS.get(parts[1])
                if target is not None and target > LAYERS[room(path)]:
                    bad.append(f"{path.relative_to(ROOT)} imports {name}")
        self.assertEqual(bad, [])

    def test_no_room_imports_what_it_must_not_know(self) -> None:
        bad = [
            f"{path.relative_to(ROOT)} imports {name}"
            for path in modules()
            for name in imported(path)
            if any(is_under(name, prefix) for prefix in FORBIDDEN.get(room(path), ()))
        ]
        self.assertEqual(bad, [])

    def test_the_simulator_is_imported_only_when_asked_for(self) -> None:
        bad = [
            f"{path.relative_to(ROOT)} imports {name}"
            for path in modules()
            if room(path) not in WITH_SIMULATOR
            for name in imported_at_once(path)
            if any(is_under(name, f"chime_gateway.{r}") for r in WITH_SIMULATOR)
        ]
        self.assertEqual(bad, [])

    def test_nothing_imports_the_global_reactor_at_module_level(self) -> None:
        bad = [
            str(path.relative_to(ROOT))
            for path in modules()
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ImportFrom)
            and node.module == "twisted.internet"
            and any(alias.name == "reactor" for alias in node.names)
        ]
        self.assertEqual(bad, [])

    def test_the_environment_is_handed_over_by_entry_points_only(self) -> None:
        users = {
            str(path.relative_to(ROOT))
            for path in modules()
            if "os.environ" in path.read_text(encoding="utf-8")
            or "getenv" in path.read_text(encoding="utf-8")
        }
        self.assertEqual(
            users,
            {
                *("tap.py", "cli.py", "cli_aws.py", "cli_calls.py"),
                *("cli_simulate.py", "aws/sma.py"),
            },
        )


class SuiteTests(SynchronousTestCase):
    """Both runners must see the same tests (a bare function is seen by one)."""

    def test_every_test_is_a_method_of_a_class(self) -> None:
        bad = [
            f"{path.name}: {node.name}"
            for path in sorted(TESTS.rglob("test_*.py"))
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.name.startswith("test")
        ]
        self.assertEqual(bad, [])

    def test_no_synchronous_test_is_a_coroutine(self) -> None:
        bad = [
            f"{path.name}: {method.name}"
            for path in sorted(TESTS.rglob("test_*.py"))
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef)
            and any(
                isinstance(base, ast.Name) and base.id == "SynchronousTestCase"
                for base in node.bases
            )
            for method in node.body
            if isinstance(method, ast.AsyncFunctionDef)
        ]
        self.assertEqual(bad, [])
