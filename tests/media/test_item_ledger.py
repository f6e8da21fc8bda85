from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.media.item_ledger import Ledger


class LedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ledger = Ledger()
        self.first = self.ledger.item("r1", ("a", 0))
        self.first.add_span(0, 100)
        self.first.add_span(100, 160)
        self.second = self.ledger.item("r1", ("b", 0))
        self.second.add_span(160, 320)

    def cut(self, head: int) -> list[tuple[str, int]]:
        return [(c.item.key[0], c.heard_bytes) for c in self.ledger.cut(head)]

    def test_contiguous_pieces_are_one_span(self) -> None:
        self.assertEqual(self.first.spans, [[0, 160]])

    def test_the_audible_item_is_cut_where_it_was_and_later_ones_at_zero(self) -> None:
        self.assertEqual(self.cut(50), [("a", 50), ("b", 0)])

    def test_an_item_heard_to_its_end_and_complete_is_not_cut(self) -> None:
        self.first.is_complete = True
        self.assertEqual(self.cut(200), [("b", 40)])

    def test_an_incomplete_item_is_cut_at_its_end(self) -> None:
        self.first.is_complete = True
        self.assertEqual(self.cut(320), [("b", 160)])

    def test_an_item_in_pieces_counts_only_its_own(self) -> None:
        self.first.add_span(320, 400)
        self.assertEqual(self.cut(360), [("a", 200), ("b", 160)])

    def test_after_a_cut_nothing_is_left_to_cut(self) -> None:
        self.cut(50)
        self.assertEqual(self.cut(50), [])

    def test_items_that_were_heard_are_forgotten(self) -> None:
        self.first.is_complete = True
        self.ledger.take_heard(200)
        self.assertEqual(self.ledger.find("a"), [])
        self.assertEqual(self.ledger.find("b"), [self.second])
        self.assertEqual(self.ledger.of_response("r1"), [self.second])
