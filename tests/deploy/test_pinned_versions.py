"""What is deployed has the versions that the tests have run with."""

from __future__ import annotations

from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def wanted() -> list[Requirement]:
    """Of setup.cfg."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [
        *config["options"]["install_requires"].splitlines(),
        *config["options.extras_require"]["postgresql"].splitlines(),
    ]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


class PinnedVersionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        if not DEPLOY.exists():
            raise SkipTest("the package is not beside the tests")
        text = (DEPLOY / "constraints.txt").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        self.pinned = dict(line.split("==") for line in lines)
        self.assertEqual(len(self.pinned), len(lines))

    def test_each_dependency_has_a_version_that_is_allowed(self) -> None:
        self.assertGreater(len(wanted()), 15)
        for requirement in wanted():
            version = self.pinned[canonicalize_name(requirement.name)]
            self.assertIn(Version(version), requirement.specifier, requirement.name)

    def test_what_those_need_is_pinned_too(self) -> None:
        """Where the very version is installed here, so that it can be asked."""
        extras = {str(canonicalize_name(one.name)): one.extras for one in wanted()}
        for name, version in self.pinned.items():
            try:
                installed = distribution(name)
            except PackageNotFoundError:
                continue  # of another version of what needs it
            if installed.version != version:
                continue
            for text in installed.requires or ():
                one = Requirement(text)
                for extra in ("", *extras.get(name, ())):
                    if one.marker is None or one.marker.evaluate({"extra": extra}):
                        needed = self.pinned[canonicalize_name(one.name)]
                        self.assertIn(Version(needed), one.specifier, text)

    def test_whoever_installs_keeps_to_them(self) -> None:
        for place in (
            "container/Containerfile",
            "systemd/chimegw@.service",
            "cloudformation/gateway.yaml",
        ):
            text = (DEPLOY / place).read_text(encoding="utf-8").replace("\\\n", "")
            installs = [line for line in text.splitlines() if "/pip install" in line]
            self.assertTrue(installs, place)
            for line in installs:
                self.assertRegex(line, r"-c \S*/?constraints\.txt ", place)

    def test_a_machine_has_the_same(self) -> None:
        template = (DEPLOY / "cloudformation" / "gateway.yaml").read_text("utf-8")
        begin = "cat >/opt/chimegw/constraints.txt <<'END'\n"
        there = template.split(begin)[1].split(" END\n")[0].split()
        same = [f"{name}=={version}" for name, version in self.pinned.items()]
        self.assertEqual(there, same, "run deploy/cloudformation/embed.py")
