from __future__ import annotations

import threading
from typing import Any

from chime_gateway.net import worker as module
from chime_gateway.net.worker import WorkerThread
from tests.support.threads import ThreadTestCase


class WorkerThreadTests(ThreadTestCase):
    def setUp(self) -> None:
        self.done: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def work(self, jobs: list[int]) -> None:
        self.gate.wait(10.0)
        if 13 in jobs:
            raise ValueError("a bug")
        self.done.append(jobs)

    def test_jobs_are_done_one_by_one_in_order(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10)
        for job in (1, 2, 3):
            self.assertTrue(worker.offer(job))
        self.assertFalse(worker.is_alive)
        worker.start()
        self.assertTrue(worker.is_alive)
        self.assertTrue(worker.stop(5.0))
        self.assertEqual(self.done, [[1], [2], [3]])
        self.assertFalse(worker.is_alive)

    def test_a_batch_of_jobs_is_passed_together(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10, batch=2)
        for job in (1, 2, 3):
            worker.offer(job)
        worker.start()
        worker.stop(5.0)
        self.assertEqual(self.done, [[1, 2], [3]])

    def test_a_bug_loses_its_job_and_not_the_thread(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10)
        worker.start()
        for job in (1, 13, 2, 13, 3):
            worker.offer(job)
        self.until(lambda: len(self.done) == 3)
        self.assertTrue(worker.is_alive)
        self.assertEqual((worker.bugs, worker.waiting), (2, 0))
        failures = self.flushLoggedErrors(ValueError)
        self.assertEqual(len(failures), 2)
        self.assertIn("in work", failures[0].getTraceback())
        worker.stop(5.0)

    def test_without_memory_to_wait_the_thread_tries_again(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10)
        wait_for, misses = worker._changed.wait_for, [MemoryError()] * 3

        def wait(*arguments: Any) -> bool:
            if misses:
                raise misses.pop()
            return bool(wait_for(*arguments))

        self.patch(worker._changed, "wait_for", wait)
        self.patch(module, "NO_MEMORY_SECONDS", 0.001)
        worker.start()
        worker.offer(1)
        self.until(lambda: self.done == [[1]])
        self.assertTrue(worker.is_alive)
        self.assertEqual((worker.bugs, misses), (0, []))
        worker.stop(5.0)

    def test_jobs_beyond_the_limit_are_refused_and_counted(self) -> None:
        self.gate.clear()
        worker = WorkerThread("test", self.work, max_jobs=3)
        worker.start()
        worker.offer(1)
        self.until(lambda: worker.waiting == 0)  # the job has been started
        offered = [worker.offer(job) for job in (2, 3, 4, 5)]
        self.assertEqual(offered, [True, True, True, False])
        self.assertEqual((worker.refused, worker.waiting), (1, 3))
        self.gate.set()
        self.until(lambda: worker.waiting == 0)
        self.assertTrue(worker.offer(6))
        worker.stop(5.0)
        self.assertEqual(self.done, [[1], [2], [3], [4], [6]])

    def test_bytes_are_limited_and_jobs_without_bytes_are_accepted(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10, max_bytes=100)
        offered = [worker.offer(job, size) for job, size in ((1, 60), (2, 60), (3, 0))]
        self.assertEqual(offered, [True, False, True])
        worker.start()
        self.until(lambda: len(self.done) == 2)
        self.assertTrue(worker.offer(4, 100))
        worker.stop(5.0)

    def test_it_is_woken_by_time(self) -> None:
        worker = WorkerThread(
            "test", self.work, max_jobs=10, wait_seconds=lambda: 0.001
        )
        worker.start()
        self.until(lambda: self.done[:2] == [[], []])
        self.assertTrue(worker.stop(5.0))

    def test_the_last_function_is_called_after_all_jobs(self) -> None:
        worker = WorkerThread(
            "test", self.work, max_jobs=10, last=lambda: self.done.append([99])
        )
        worker.start()
        worker.offer(1)
        worker.offer(13)
        worker.stop(5.0)
        self.assertEqual(self.done, [[1], [99]])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopping_waits_no_longer_than_its_limit(self) -> None:
        self.gate.clear()
        worker = WorkerThread("test", self.work, max_jobs=10)
        worker.start()
        worker.offer(1)
        self.assertFalse(worker.stop(0.01))
        self.gate.set()
        self.assertTrue(worker.stop(5.0))

    def test_after_the_stop_jobs_are_refused(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10)
        worker.start()
        worker.stop(5.0)
        self.assertFalse(worker.offer(1))

    def test_a_worker_that_never_started_can_be_stopped(self) -> None:
        worker = WorkerThread("test", self.work, max_jobs=10)
        self.assertTrue(worker.stop(5.0))
