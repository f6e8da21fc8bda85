"""The benchmark's own programs, each for a second: what they say is not judged here."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec

from twisted.internet.utils import getProcessOutputAndValue

from tests.support.base import ReactorTestCase
from tests.support.benchmarks import FOLDER
from tests.support.files import temporary_folder

#: Their servers want a processor each.
gives_way = True


class BenchmarksTests(ReactorTestCase):
    if not (find_spec("picows") and find_spec("uvloop")):
        skip = "picows and uvloop are not installed"

    timeout = 120

    async def test_tls_and_the_floor_are_measured(self) -> None:
        results = temporary_folder(self) / "results.json"
        out, err, status = await getProcessOutputAndValue(
            sys.executable,
            [
                *(str(FOLDER / "run.py"), "--out", str(results), "--calls", "2"),
                *("--servers", "gateway-tls,relay-tls-wss", "--seconds", "1"),
                *("--rounds", "0"),
            ],
            env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
        )
        self.assertEqual(status, 0, (out + err).decode())
        runs = json.loads(results.read_text())["runs"]
        self.assertEqual(len(runs), 2)
        for run in runs:
            self.assertEqual(run["lost_calls"], 0)
            self.assertGreater(run["cpu_ms_per_call_second"], 0)
