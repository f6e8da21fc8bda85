"""What is enough of the rooms where a call lives, and what is not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cover import LEAST, LEAST_OF_A_ROOM, ROOMS, Share, faults, shares

AMOUNTS = st.tuples(st.integers(0, 500), st.integers(0, 500))
FILES = st.dictionaries(
    st.tuples(st.sampled_from(ROOMS), st.sampled_from("abc")),
    st.tuples(AMOUNTS, AMOUNTS),
    min_size=1,
)


def report(files: Any) -> dict[str, Any]:
    """As coverage writes it: of lines, and of branches, those run and the others."""
    return {
        "files": {
            f"chime_gateway/{room}/{name}.py": {
                "summary": {
                    "covered_lines": lines[0],
                    "num_statements": sum(lines),
                    "covered_branches": branches[0],
                    "num_branches": sum(branches),
                }
            }
            for (room, name), (lines, branches) in files.items()
        }
    }


class CoverTests(SynchronousTestCase):
    @given(FILES)
    def test_a_room_has_all_of_its_files_and_no_others(self, files: Any) -> None:
        found = shares(report(files))
        run = sum(lines[0] + branches[0] for lines, branches in files.values())
        every = sum(sum(lines) + sum(branches) for lines, branches in files.values())
        self.assertEqual(sum(found.values(), Share(0, 0)), Share(run, every))
        self.assertEqual(set(found), set(ROOMS))
        self.assertTrue(all(0 <= share.percent <= 100 for share in found.values()))

    def test_less_than_enough_is_told_of_a_room_and_of_all(self) -> None:
        enough = dict.fromkeys(ROOMS, Share(98, 100))
        self.assertEqual(faults(enough), [])
        (one,) = faults({**enough, "media": Share(95, 100)})
        self.assertIn("media", one)
        self.assertIn(str(LEAST_OF_A_ROOM), one)
        (every,) = faults(dict.fromkeys(ROOMS, Share(96, 100)))
        self.assertIn(str(LEAST), every)

    def test_a_room_of_which_nothing_is_known_is_not_enough(self) -> None:
        self.assertEqual(len(faults(shares({"files": {}}))), len(ROOMS) + 1)
