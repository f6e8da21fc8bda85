"""Which coverage is enough, and what is listed as missing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cover import (
    LEAST,
    LEAST_OF_A_PACKAGE,
    PACKAGES,
    Share,
    faults,
    missing,
    shares,
    table,
)

AMOUNTS = st.tuples(st.integers(0, 500), st.integers(0, 500))
FILES = st.dictionaries(
    st.tuples(st.sampled_from(PACKAGES), st.sampled_from("abc")),
    st.tuples(AMOUNTS, AMOUNTS),
    min_size=1,
)


def report(files: Any) -> dict[str, Any]:
    """As slipcover writes it: of lines and branches, those run and the others."""
    return {
        "files": {
            f"chime_gateway/{package}/{name}.py": {
                "summary": {
                    "covered_lines": lines[0],
                    "missing_lines": lines[1],
                    "covered_branches": branches[0],
                    "missing_branches": branches[1],
                }
            }
            for (package, name), (lines, branches) in files.items()
        }
    }


class CoverTests(SynchronousTestCase):
    @given(FILES)
    def test_a_package_has_all_of_its_files_and_no_others(self, files: Any) -> None:
        found = shares(report(files))
        run = sum(lines[0] + branches[0] for lines, branches in files.values())
        every = sum(sum(lines) + sum(branches) for lines, branches in files.values())
        self.assertEqual(sum(found.values(), Share(0, 0)), Share(run, every))
        self.assertEqual(set(found), set(PACKAGES))
        self.assertTrue(all(0 <= share.percent <= 100 for share in found.values()))

    def test_a_package_or_all_of_them_below_the_required_share_are_named(self) -> None:
        enough = dict.fromkeys(PACKAGES, Share(98, 100))
        self.assertEqual(faults(enough), [])
        (one,) = faults({**enough, "media": Share(95, 100)})
        self.assertIn("media", one)
        self.assertIn(str(LEAST_OF_A_PACKAGE), one)
        (every,) = faults(dict.fromkeys(PACKAGES, Share(96, 100)))
        self.assertIn(str(LEAST), every)

    def test_a_package_that_was_not_measured_is_below_the_required_share(self) -> None:
        self.assertEqual(len(faults(shares({"files": {}}))), len(PACKAGES) + 1)

    def test_a_branch_to_a_missing_line_is_listed_as_that_line(self) -> None:
        files = {
            "chime_gateway/media/b.py": {
                "missing_lines": [5, 9],
                "missing_branches": [[3, 5], [4, 7], [8, 0]],
            },
            "chime_gateway/media/a.py": {"missing_lines": [], "missing_branches": []},
        }
        self.assertEqual(
            missing({"files": files}), ["chime_gateway/media/b.py: 5, 9, 4->7, 8->exit"]
        )

    def test_the_table_ends_with_all_packages_together(self) -> None:
        *_, last = table(dict.fromkeys(PACKAGES, Share(99, 100))).splitlines()
        self.assertEqual(last, "coverage of all: 99.00 % of 500 lines, branches")
