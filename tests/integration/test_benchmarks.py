"""The benchmark's programs, each for a second; their results are not checked here."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec

from twisted.internet.utils import getProcessOutputAndValue

from tests.support.base import ReactorTestCase
from tests.support.benchmarks import FOLDER
from tests.support.files import temporary_folder

#: Each server needs a processor.
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


#: A gateway that reports its location, and ends.
OTHER_PLUGIN = """
from twisted.application.service import ServiceMaker
chime_gateway = ServiceMaker("Another", "chime_gateway.elsewhere", "", "chimegw")
"""
ELSEWHERE = """
from twisted.python.usage import Options
def makeService(options):
    raise SystemExit(f"it is {__file__}")
"""


class CheckoutTests(ReactorTestCase):
    timeout = 60

    async def test_another_checkout_runs_nothing_of_this_one(self) -> None:
        """Neither the current folder nor an installed package is used."""
        other = temporary_folder(self) / "other"
        for name, text in (
            ("chime_gateway/__init__.py", ""),
            ("chime_gateway/elsewhere.py", ELSEWHERE),
            ("twisted/plugins/chimegw_plugin.py", OTHER_PLUGIN),
        ):
            (other / name).parent.mkdir(parents=True, exist_ok=True)
            (other / name).write_text(text)
        _, err, _ = await getProcessOutputAndValue(
            sys.executable,
            [str(FOLDER / "checkout.py"), str(other)],
            env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
            path=str(FOLDER.parent),
        )
        where = other.resolve() / "chime_gateway" / "elsewhere.py"
        self.assertIn(f"it is {where}", err.decode())
