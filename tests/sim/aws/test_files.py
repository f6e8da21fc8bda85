from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.aws.files import Files
from chime_gateway.sim.aws.protocol import Operation, write_answer


class FilesTests(SynchronousTestCase):
    def test_a_file_has_its_last_modification_time(self) -> None:
        now = [1_700_000_000.0]
        files = Files(lambda: now[0])
        run = files.operations()
        where = {"Bucket": "b", "Key": "k"}
        run["CreateBucket"]({"Bucket": "b"})
        for text in (b"one", b"two"):
            run["PutObject"]({**where, "Body": text})
            now[0] += 100
        answer = run["GetObject"](where)
        operation = Operation("s3", "GetObject", where)
        status, headers, body = write_answer(operation, answer)
        self.assertEqual((status, body), (200, b"two"))
        told = parsedate_to_datetime(headers["Last-Modified"])
        self.assertEqual(told, datetime.fromtimestamp(1_700_000_100, UTC))
        self.assertEqual(headers["ETag"], answer["ETag"])
