from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.responses.wanted import AskedFor, Sort, Wanted, WantedQueue


class WantedQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue = WantedQueue()

    def words(self) -> Wanted:
        wanted = self.queue.new(Sort.WORDS, {})
        self.queue.add(wanted)
        return wanted

    def sorts(self) -> list[Sort]:
        sorts = []
        while (wanted := self.queue.take_due(1e9)) is not None:
            sorts.append(wanted.sort)
        return sorts

    def test_words_come_first_and_there_is_one_answer(self) -> None:
        self.queue.add_answer()
        first = self.words()
        self.queue.add_answer()
        second = self.words()
        self.assertIs(self.queue.take_due(0.0), first)
        self.assertIs(self.queue.take_due(0.0), second)
        self.assertEqual(self.sorts(), [Sort.ANSWER])

    def test_what_is_put_back_keeps_its_place(self) -> None:
        first, _ = self.words(), self.words()
        self.queue.discard(first)
        self.queue.put_back(first)
        self.assertIs(self.queue.take_due(0.0), first)

    def test_what_has_to_wait_holds_nothing_else_up(self) -> None:
        first = self.words()
        self.queue.discard(first)
        self.queue.put_back(first, 5.0)
        second = self.words()
        self.assertIs(self.queue.take_due(4.9), second)
        self.assertIsNone(self.queue.take_due(4.9))
        self.assertEqual(self.queue.next_at(), 5.0)
        self.queue.hurry()
        self.assertIs(self.queue.take_due(0.0), first)

    def test_an_answer_is_dropped_if_it_was_wanted_by_then(self) -> None:
        until = self.queue.count
        self.queue.add_answer()
        self.queue.drop_answer(until)
        self.assertEqual(len(self.queue), 1)
        self.queue.drop_answer(self.queue.count)
        self.assertEqual(len(self.queue), 0)

    def test_one_answer_for_two_came_to_nothing_if_both_did(self) -> None:
        for first, second in product(((0, 0), (1, 0), (1, 1), (2, 1)), repeat=2):
            for merge in ("put back", "given"):
                with self.subTest(merge, first=first, second=second):
                    self.setUp()
                    wanted, other = (self.queue.new(Sort.ANSWER, {}) for _ in range(2))
                    wanted.failures, wanted.silences = first
                    other.failures, other.silences = second
                    self.queue.put_back(wanted)
                    if merge == "put back":
                        self.queue.put_back(other)
                        left = self.queue.take_due(0.0)
                        self.assertIs(left, wanted)
                    else:
                        self.queue.drop_answer(by=other)
                        left = other
                    assert left is not None
                    self.assertEqual((left.failures, left.silences), min(first, second))
                    self.assertEqual(len(self.queue), 0)


class AskedForTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked = AskedFor()
        self.wanted = Wanted(1, Sort.WORDS, {})
        self.asked.ask(self.wanted)

    def test_a_name_tells(self) -> None:
        self.assertIs(self.asked.made("wanted_1"), self.wanted)
        self.assertIsNone(self.asked.out)
        self.assertIsNone(self.asked.made(""))

    def test_without_names_the_first_is_taken_for_it_until_an_error_tells(self) -> None:
        self.assertIs(self.asked.made(""), self.wanted)
        self.assertIsNone(self.asked.made(""))
        self.assertIsNone(self.asked.mistaken("wanted_2"))
        self.assertIs(self.asked.mistaken("wanted_1"), self.wanted)
        self.assertIsNone(self.asked.mistaken(None))

    def test_an_error_without_a_name_is_about_what_is_out(self) -> None:
        self.assertIsNone(self.asked.refused("wanted_9"))
        self.assertIs(self.asked.refused(None), self.wanted)
        self.assertIsNone(self.asked.refused(None))

    def test_one_that_comes_late_is_known_by_its_name(self) -> None:
        self.asked.out = None
        self.assertIs(self.asked.made("wanted_1"), self.wanted)

    def test_a_service_that_answers_nothing_costs_no_memory(self) -> None:
        for number in range(1000):
            self.asked.ask(Wanted(number, Sort.WORDS, {}))
        self.assertLessEqual(len(self.asked._by_name), 32)
