from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.cli import calls as calls_module
from chime_gateway.cli import main as module
from chime_gateway.cli.calls import _csv, turn_lines
from chime_gateway.cli.main import Options, main
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.standard_output import printable
from chime_gateway.store.database import Database
from chime_gateway.store.entries import CLOSED
from chime_gateway.store.rows import (
    CallRow,
    StoredCall,
    chronological,
    stored_call_json,
)
from tests.support.entries import closed, turn
from tests.support.files import temporary_file, temporary_folder


class CliTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = temporary_folder(self)
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("CHIMEGW_")
        }
        self.patch(os, "environ", {**environ, "CHIMEGW_STATE": str(self.folder)})
        database = Database(f"sqlite:///{self.folder}/chimegw.sqlite", self.folder)
        database.migrate()
        turns = [
            turn("c1", 1, "Hello?"),
            {
                **turn("c1", 2, ""),
                "turn": {
                    "number": 2,
                    "speaker": "agent",
                    "started": 2.0,
                    "text": "one two three",
                    "interrupted": True,
                    "heard_ms": 500,
                    "spoken_ms": 1000,
                    "heard_text": "one",
                },
            },
        ]
        turns[0]["turn"].update(speaker="caller", started=1.0)
        database.apply(
            [
                (CLOSED, closed("c1", 1000.0, turns=turns)),
                (CLOSED, closed("c2", 2000.0, agent="sales", caller="=cmd()")),
            ]
        )
        database.close()

    def run_command(self, *words: str) -> tuple[int, str]:
        options = Options()
        options.parseOptions(words)
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        command: Any = options.subOptions
        try:
            status = command.run(None)
        finally:
            self.patch(sys, "stdout", sys.__stdout__)
        return status, out.getvalue()


#: Contents of cells, with more characters that begin formulas than usual.
CELLS = st.one_of(
    st.text(st.sampled_from("=+-@\t\r\n',\"07 a"), max_size=6),
    st.text(max_size=6),
    st.integers(-999, 10**14).map(lambda number: f"{number:+}"),
).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))


class CsvTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(CELLS, CELLS, CELLS)
    def test_formulas_become_texts_and_control_characters_are_escaped(
        self, caller: str, agent: str, reason: str
    ) -> None:
        row = CallRow(**closed("c", 1000.0, caller=caller, agent=agent, reason=reason))
        out = io.StringIO(newline="")
        _csv(out)(row)
        (cells,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
        for name, value in (("caller", caller), ("agent", agent), ("reason", reason)):
            number = value[:1] in ("+", "-") and value[1:].isascii()
            number = number and value[1:].isdigit()
            guarded = value[:1] in ("=", "+", "-", "@", "\t", "\r") and not number
            shown = printable(value)
            self.assertEqual(cells[name], f"'{shown}" if guarded else shown)
        self.assertEqual(cells["recording"], "")


#: Control sequences of terminals, among other texts.
HOSTILE = st.text(
    st.sampled_from(
        "\x1b\x07\x9b\x90\x9c\x7f\x08\r\n\t\u2028\u2029\u202e\u2066a[2J;\\"
    ),
    min_size=1,
    max_size=12,
)


class TerminalTests(CliTestCase):
    @settings(max_examples=25, deadline=None)
    @given(HOSTILE, HOSTILE, HOSTILE)
    def test_texts_of_strangers_do_not_control_the_terminal(
        self, caller: str, reason: str, said: str
    ) -> None:
        path = self.folder / "chimegw.sqlite"
        database = Database(f"sqlite:///{path}", self.folder)
        turns = [turn("h", 1, said)]
        turns[0]["turn"].update(speaker=said, started=1.0)
        note = {"target": said, "outcome": reason, "reason": caller}
        fields = closed(
            "h",
            *(3000.0,),
            turns=turns,
            agent=said,
            caller=caller,
            called=said,
            reason=reason,
            recording=said,
            record={"transfers": [note], "tokens": {said: said}},
        )
        database.apply([(CLOSED, fields)])
        lines = {}
        for command in (("calls",), ("show", "h"), ("export",), ("calls", "--json")):
            status, text = self.run_command(*command)
            self.assertEqual(status, 0)
            plain = text.replace("\r\n", "\n").split("\n")
            self.assertEqual([line for line in plain if not line.isprintable()], [])
            lines[command[0]] = len(plain)
        # No text has added a line to a table.
        self.assertEqual((lines["calls"], lines["export"]), (4, 5))
        database.apply([(CLOSED, closed("h", 3000.0))])
        database.close()

    def test_an_error_that_quotes_such_a_text_does_not_control_it_either(self) -> None:
        self.patch(sys, "argv", ["chimegw", "show", "\x1b[2J\u2028x"])

        # The reactor of the tests can only run once.
        def react(run: Any, words: Any) -> None:
            self.failureResultOf(run(Clock(), *words)).raiseException()

        self.patch(module, "react", react)
        caught = self.assertRaises(SystemExit, main)
        self.assertIn("\\x1b[2J\\u2028x", str(caught.code))


TIMES = st.lists(st.integers(0, 50), min_size=1, max_size=8, unique=True)


class OrderTests(SynchronousTestCase):
    @settings(max_examples=50, deadline=None)
    @given(TIMES)
    def test_turns_are_shown_in_the_order_of_their_start(
        self, times: list[int]
    ) -> None:
        turns = [
            {"number": n, "speaker": "caller", "started": float(at), "text": f"at {at}"}
            for n, at in enumerate(times, 1)
        ]
        call = StoredCall(row=CallRow(**closed("c", 1000.0)), transcript=turns)
        shown = stored_call_json(call)["transcript"]
        self.assertEqual([turn["started"] for turn in shown], sorted(times))
        lines = [line for turn in chronological(turns) for line in turn_lines(turn)]
        said = [int(line.rpartition(" ")[2]) for line in lines]
        self.assertEqual(said, sorted(times))


class CallsTests(CliTestCase):
    def test_calls_are_listed_newest_first(self) -> None:
        status, text = self.run_command("calls")
        self.assertEqual(status, 0)
        self.assertEqual([line.split()[0] for line in text.splitlines()], ["c2", "c1"])

    def test_filters_select_calls(self) -> None:
        _, text = self.run_command("calls", "--agent", "sales", "--json")
        self.assertEqual(json.loads(text)["call_id"], "c2")
        _, text = self.run_command("calls", "--since", "7d")
        self.assertEqual(text, "no calls\n")

    def test_one_call_is_shown_with_the_heard_part_of_its_turns(self) -> None:
        env = temporary_file(self, "A=b\n")
        _, text = self.run_command("show", "c1", "--env-file", env)
        self.assertIn("outcome            completed", text)
        self.assertIn("caller   Hello?", text)
        self.assertIn("interrupted after 500 of 1000 ms, the caller heard: one", text)

    def test_what_a_record_has_is_shown_in_words(self) -> None:
        path = self.folder / "chimegw.sqlite"
        database = Database(f"sqlite:///{path}", self.folder)
        notes = [
            {"target": "office", "outcome": "transferred", "reason": ""},
            {"target": "lab", "outcome": "failed", "reason": "busy"},
        ]
        tokens = {"input_tokens": 7, "output_tokens": 8}
        record = {"transfers": notes, "tokens": tokens, "turn_latency_p50": None}
        database.apply([(CLOSED, closed("w", 3000.0, record=record))])
        database.close()
        _, text = self.run_command("show", "w")
        lines = [line.split(maxsplit=1) for line in text.splitlines()]
        self.assertIn(["tokens", "input_tokens 7, output_tokens 8"], lines)
        self.assertIn(["turn_latency_p50"], lines)
        self.assertIn(["transfer", "office: transferred"], lines)
        self.assertIn(["transfer", "lab: failed: busy"], lines)

    def test_an_unknown_call_is_an_error(self) -> None:
        self.assertRaises(ConfigError, self.run_command, "show", "nobody")

    def test_an_export_for_spreadsheets_holds_no_formula(self) -> None:
        _, text = self.run_command("export")
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual([row["call_id"] for row in rows], ["c2", "c1"])
        self.assertEqual(rows[0]["caller"], "'=cmd()")
        self.assertEqual(rows[1]["caller"], "+15550001")

    def test_an_export_as_jsonl_has_the_transcripts(self) -> None:
        path = self.folder / "out.jsonl"
        self.run_command("export", "--format", "jsonl", "--out", str(path))
        calls = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual([len(call["transcript"]) for call in calls], [0, 2])

    def test_without_a_store_the_error_says_how_to_name_it(self) -> None:
        self.patch(os, "environ", {"CHIMEGW_STATE": str(self.folder / "no")})
        error = self.assertRaises(ConfigError, self.run_command, "calls")
        self.assertIn("CHIMEGW_STATE", str(error))

    def test_the_store_of_another_user_is_not_called_missing(self) -> None:
        def denied(path: Any, **more: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", path)

        # Root may read every folder.
        self.patch(calls_module, "os", SimpleNamespace(stat=denied))
        error = self.assertRaises(ConfigError, self.run_command, "calls")
        self.assertIn("permission denied; run this as", str(error))

    def test_a_file_that_is_not_a_store_is_an_error(self) -> None:
        (self.folder / "chimegw.sqlite").write_bytes(b"not a database at all" * 100)
        error = self.assertRaises(ConfigError, self.run_command, "calls")
        self.assertIn("cannot be read", str(error))

    def test_mistakes_are_named(self) -> None:
        for words, name in (
            (["export", "--format", "xml"], "xml"),
            (["calls", "--since", "soon"], "soon"),
            (["show"], "expected chimegw show ID"),
            (["show", "c1", "c2"], "expected chimegw show ID"),
            (["show", "c1", "--josn"], "did you mean --json?"),
            (["call", "a.wav", "--record"], "--record requires"),
        ):
            with self.subTest(words=words):
                options = Options()
                error = self.assertRaises(usage.UsageError, options.parseOptions, words)
                self.assertIn(name, str(error))

    def test_arguments_may_be_anywhere(self) -> None:
        to = ["--to", "ws://127.0.0.1/stream"]
        for words, wavs in (
            (["a.wav", "b.wav", "-g", *to], ("a.wav", "b.wav")),
            (["-g", "a.wav", *to, "b.wav"], ("a.wav", "b.wav")),
            ([*to, "-g", "--", "-a.wav"], ("-a.wav",)),
            ([*to, "--greet"], ()),
        ):
            options = Options()
            options.parseOptions(["call", *words])
            call: Any = options.subOptions
            self.assertEqual(call["wavs"], wavs)
            self.assertTrue(call["greeting"])
            self.assertEqual(call["to"], to[1])
