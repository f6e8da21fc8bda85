from __future__ import annotations

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.agents.responses.request_queue import (
    RequestQueue,
    ResponseRequest,
    SentRequests,
    Sort,
)


class RequestQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue = RequestQueue()

    def words(self) -> ResponseRequest:
        request = self.queue.new(Sort.WORDS, {})
        self.queue.add(request)
        return request

    def sorts(self) -> list[Sort]:
        sorts = []
        while (request := self.queue.take_due(1e9)) is not None:
            sorts.append(request.sort)
        return sorts

    def test_words_come_first_and_there_is_one_answer(self) -> None:
        self.queue.add_answer()
        first = self.words()
        self.queue.add_answer()
        second = self.words()
        self.assertIs(self.queue.take_due(0.0), first)
        self.assertIs(self.queue.take_due(0.0), second)
        self.assertEqual(self.sorts(), [Sort.ANSWER])

    def test_a_request_put_back_keeps_its_place(self) -> None:
        first, _ = self.words(), self.words()
        self.queue.discard(first)
        self.queue.put_back(first)
        self.assertIs(self.queue.take_due(0.0), first)

    def test_a_delayed_request_does_not_delay_others(self) -> None:
        first = self.words()
        self.queue.discard(first)
        self.queue.put_back(first, 5.0)
        second = self.words()
        self.assertIs(self.queue.take_due(4.9), second)
        self.assertIsNone(self.queue.take_due(4.9))
        self.assertEqual(self.queue.next_at(), 5.0)
        self.queue.hurry()
        self.assertIs(self.queue.take_due(0.0), first)

    def test_an_answer_is_dropped_if_it_was_requested_by_then(self) -> None:
        until = self.queue.count
        self.queue.add_answer()
        self.queue.drop_answer(until)
        self.assertEqual(len(self.queue), 1)
        self.queue.drop_answer(self.queue.count)
        self.assertEqual(len(self.queue), 0)

    def test_one_answer_for_two_requests_failed_only_if_both_did(self) -> None:
        for first, second in product(((0, 0), (1, 0), (1, 1), (2, 1)), repeat=2):
            for merge in ("put back", "given"):
                with self.subTest(merge, first=first, second=second):
                    self.setUp()
                    request, other = (self.queue.new(Sort.ANSWER, {}) for _ in range(2))
                    request.failures, request.silences = first
                    other.failures, other.silences = second
                    self.queue.put_back(request)
                    if merge == "put back":
                        self.queue.put_back(other)
                        left = self.queue.take_due(0.0)
                        self.assertIs(left, request)
                    else:
                        self.queue.drop_answer(by=other)
                        left = other
                    assert left is not None
                    self.assertEqual((left.failures, left.silences), min(first, second))
                    self.assertEqual(len(self.queue), 0)


class SentRequestsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent = SentRequests()
        self.request = ResponseRequest(1, Sort.WORDS, {})
        self.sent.ask(self.request)

    def test_a_name_identifies_the_request(self) -> None:
        self.assertIs(self.sent.made("wanted_1"), self.request)
        self.assertIsNone(self.sent.out)
        self.assertIsNone(self.sent.made(""))

    def test_without_names_the_first_response_is_taken_until_an_error_shows_otherwise(
        self,
    ) -> None:
        self.assertIs(self.sent.made(""), self.request)
        self.assertIsNone(self.sent.made(""))
        self.assertIsNone(self.sent.mistaken("wanted_2"))
        self.assertIs(self.sent.mistaken("wanted_1"), self.request)
        self.assertIsNone(self.sent.mistaken(None))

    def test_an_error_without_a_name_is_about_the_outstanding_request(self) -> None:
        self.assertIsNone(self.sent.refused("wanted_9"))
        self.assertIs(self.sent.refused(None), self.request)
        self.assertIsNone(self.sent.refused(None))

    def test_a_late_response_is_identified_by_its_name(self) -> None:
        self.sent.out = None
        self.assertIs(self.sent.made("wanted_1"), self.request)

    def test_a_service_that_answers_nothing_costs_no_memory(self) -> None:
        for number in range(1000):
            self.sent.ask(ResponseRequest(number, Sort.WORDS, {}))
        self.assertLessEqual(len(self.sent._by_name), 32)
