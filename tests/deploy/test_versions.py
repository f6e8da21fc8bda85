"""The version, and what the changelog says of it."""

from __future__ import annotations

import re
from datetime import date

from packaging.version import Version
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway import __version__
from chime_gateway.settings.reference import TABLES
from chime_gateway.settings.variables import VARIABLES
from tests.support.documents import ROOT, documents


class VersionTests(SynchronousTestCase):
    def setUp(self) -> None:
        documents()
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        self.headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        self.versions = [heading.partition(" ")[0] for heading in self.headings[1:]]

    def test_versions_have_a_date_and_go_down(self) -> None:
        self.assertEqual(self.headings[0], "Unreleased")
        found = []
        for heading in self.headings[1:]:
            version, day = re.fullmatch(r"(\S+) \((\S+)\)", heading).groups()  # type: ignore[union-attr]
            found.append((Version(version), date.fromisoformat(day)))
        self.assertEqual(found, sorted(found, reverse=True))

    def test_the_program_is_of_the_newest_or_on_the_way_to_the_next(self) -> None:
        version = Version(__version__)
        if version.is_devrelease:
            self.assertGreater(version, Version(self.versions[0]))
        else:
            self.assertEqual(__version__, self.versions[0])

    def test_settings_are_since_a_version_that_there_is(self) -> None:
        said = {variable.since for variable in VARIABLES}
        for table in TABLES:
            said |= {key.since for key in table.described()}
        known = {*self.versions, Version(__version__).base_version}
        self.assertEqual(said - known, set())

    def test_the_package_says_that_it_is_typed_and_has_a_licence(self) -> None:
        for name in ("chime_gateway/py.typed", "LICENSE", "SECURITY.md"):
            self.assertTrue((ROOT / name).exists(), name)
