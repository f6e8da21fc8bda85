"""
C{chimegw calls}, C{show}, C{export} and C{replay}: show stored calls.

They read the store; the gateway need not be running.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from getopt import GetoptError, getopt
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

from twisted.internet.defer import Deferred
from twisted.python import usage

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.errors import ConfigError
from chime_gateway.net.system.private_files import private
from chime_gateway.net.system.standard_output import printable
from chime_gateway.settings.load import load_store
from chime_gateway.settings.sources import process_environment
from chime_gateway.store.database import Database, DatabaseUnavailable
from chime_gateway.store.numbers import NumberGuard
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import CallRow, chronological, columns, stored_call_json

#: Rows that are read at a time.
_PAGE: Final = 500

_COLUMNS: Final = (
    *("call_id", "started_at", "carrier", "direction", "agent", "caller", "called"),
    *("duration_seconds", "outcome", "reason", "recording"),
)


def _seconds(text: str) -> float:
    """Parse Unix seconds, a date, or a time ago: 90m, 12h, 7d."""
    units = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
    if text[-1:] in units and text[:-1].isdecimal():
        return time.time() - int(text[:-1]) * units[text[-1]]
    for pattern in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"):
        try:
            return time.mktime(time.strptime(text, pattern))
        except ValueError:
            continue
    try:
        return float(text)
    except ValueError as exc:
        raise ValueError(f"{text}: expected 7d, 12h, 90m or 2026-01-31") from exc


class _StoreCommand(CommandOptions):
    """A command that reads the store."""

    optParameters: ClassVar[list[Any]] = [
        ["config", "c", None, "The gateway's TOML file."],
        ["env-file", "e", None, "The gateway's env file."],
    ]

    def run(self, reactor: Any) -> Deferred[int] | int:
        settings = load_store(
            process_environment(), config_path=self["config"], env_path=self["env-file"]
        )
        if settings.database_url.startswith("sqlite:///"):
            path = settings.database_url.removeprefix("sqlite:///")
            try:
                os.stat(path)
            except PermissionError as exc:
                raise ConfigError(
                    f"{path}: permission denied; run this as the gateway's user"
                    " (sudo -u chimegw ...)"
                ) from exc
            except OSError as exc:
                raise ConfigError(
                    f"{path}: there is no such store; name it by --env-file,"
                    " CHIMEGW_STATE or CHIMEGW_DATABASE_URL"
                ) from exc
        database = Database(settings.database_url, Path(settings.state_directory))
        self._guard = NumberGuard(settings.numbers, settings.numbers_key)
        try:
            return self.read(database)
        except BrokenPipeError:
            # The reader of the output is gone; the store is not to blame.
            raise
        except DatabaseUnavailable as exc:
            why = str(getattr(exc, "orig", None) or exc).strip().splitlines()[0]
            raise ConfigError(
                f"the store cannot be read: {why}; check CHIMEGW_DATABASE_URL and"
                " CHIMEGW_STATE"
            ) from exc
        finally:
            database.close()

    def read(self, database: Database) -> int:
        raise NotImplementedError


_FILTERS: Final[list[list[Any]]] = [
    ["since", None, None, "Calls since then: 7d, 12h, 2026-01-31.", _seconds],
    ["until", None, None, "Calls before then; written like --since.", _seconds],
    ["agent", "a", "", "Calls of this agent."],
    ["carrier", None, "", "Calls of this carrier."],
    ["outcome", "o", "", "Filter by outcome, such as completed."],
    ["state", "s", "", "Filter by state: live or ended."],
    ["caller", None, "", "Calls from this number."],
    ["called", None, "", "Calls to this number."],
]


class _QueryCommand(_StoreCommand):
    def query(self, **more: Any) -> CallQuery:
        texts = ("agent", "carrier", "outcome", "state")
        return CallQuery(
            **{name: self[name] for name in texts},
            caller=self._guard.guard(self["caller"]),
            called=self._guard.guard(self["called"]),
            since=self["since"],
            until=self["until"],
            **more,
        )


def _local(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)) if at else ""


class CallsOptions(_QueryCommand):
    synopsis = "[--since 7d] [--outcome completed] ..."
    longdesc = "List calls, newest first."
    optParameters: ClassVar[list[Any]] = [
        *_FILTERS,
        ["limit", "n", 20, "Maximum rows.", int],
    ]
    optFlags: ClassVar = [["json", "j", "Print one JSON document per line."]]

    def read(self, database: Database) -> int:
        rows = database.calls(self.query(limit=self["limit"]))
        if self["json"]:
            for row in rows:
                print(json.dumps(columns(row)))
            return 0
        if not rows:
            print("no calls")
        for row in rows:
            seconds = row.duration_seconds
            length = "" if seconds is None else f"{seconds:.0f} s"
            caller = printable(row.caller)
            print(
                f"{printable(row.call_id)}  {_local(row.started_at)}"
                f"  {printable(row.carrier):13} {printable(row.agent)[:16]:16}"
                f" {caller[:18]:18} {length:>7}  {printable(row.outcome or row.state)}"
            )
        return 0


class NameFirst(CommandOptions):
    """A command whose arguments may also come before and between its options."""

    def parseOptions(self, options: Any = None) -> None:
        rest = list(options or ())
        given: list[str] = []
        names: list[str] = []
        try:
            while rest:
                _, left = getopt(rest, self.shortOpt, self.longOpt)
                given += rest[: len(rest) - len(left)]
                if given[-1:] == ["--"]:
                    names += left
                    break
                names += left[:1]
                rest = left[1:]
        except GetoptError:
            # Twisted raises it again, as an error of its own.
            super().parseOptions(rest)
            return
        if given[-1:] != ["--"]:
            given.append("--")
        super().parseOptions(given + names)


class ShowOptions(NameFirst, _StoreCommand):
    synopsis = "ID"
    longdesc = "Show one call: its record and what was said."
    optFlags: ClassVar = [["json", "j", "Print JSON."]]

    def parseArgs(self, call_id: str) -> None:  # type: ignore[override]
        self["id"] = call_id

    def read(self, database: Database) -> int:
        call = database.call(self["id"])
        if call is None:
            raise ConfigError(f"there is no call {self['id']}; chimegw calls lists all")
        if self["json"]:
            print(json.dumps(stored_call_json(call)))
            return 0
        for name in _COLUMNS:
            value = getattr(call.row, name)
            if name == "started_at":
                value = _local(value)
            print(f"{name:18} {'' if value is None else printable(str(value))}")
        record = call.row.record
        for name in ("turns", "barge_ins", "turn_latency_p50", "tool_calls", "tokens"):
            print(f"{name:18} {printable(_in_words(record.get(name)))}")
        for note in record.get("transfers", ()):
            why = f": {note['reason']}" if note["reason"] else ""
            said = f"{note['target']}: {note['outcome']}{why}"
            print(f"{'transfer':18} {printable(said)}")
        print()
        for turn in chronological(call.transcript):
            for line in turn_lines(turn):
                print(line)
        return 0


def _in_words(value: object) -> str:
    """Return a value of the record for people; C{None} is nothing."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return "" if value is None else str(value)


def turn_lines(turn: Mapping[str, object]) -> Iterator[str]:
    """Yield a turn of a transcript, for people: each text on one line."""
    yield from map(printable, _turn_lines(turn))


def _turn_lines(turn: Mapping[str, object]) -> Iterator[str]:
    at = f"{turn['started']:8.1f} s"
    speaker = turn["speaker"]
    if speaker == "tool":
        fault = turn.get("fault")
        result = f"failed: {fault}" if fault else turn.get("result", "")
        yield f"{at}  tool     {turn['text']}({turn.get('arguments', '')})"
        yield f"{'':10}           {result}"
        return
    yield f"{at}  {speaker:8} {turn['text'] or '(no text)'}"
    if turn.get("interrupted"):
        heard = f"{turn['heard_ms']} of {turn['spoken_ms']} ms"
        text = turn["heard_text"] or "(no text)"
        yield f"{'':10}           interrupted after {heard}, the caller heard: {text}"


class ExportOptions(_QueryCommand):
    synopsis = "[--format csv|jsonl] [--out FILE] [--since 30d] ..."
    longdesc = "Write calls to a file, newest first; JSONL includes transcripts."
    optParameters: ClassVar[list[Any]] = [
        *_FILTERS,
        ["format", "f", "csv", "Format: csv or jsonl."],
        ["out", "O", "-", "File to write. [default: standard output]"],
    ]

    def postOptions(self) -> None:
        if self["format"] not in ("csv", "jsonl"):
            raise usage.UsageError(f"--format {self['format']}: expected csv or jsonl")

    def read(self, database: Database) -> int:
        if self["out"] == "-":
            self._write(database, sys.stdout)
            return 0
        # Replaced atomically: complete, or unchanged.
        beside = self["out"] + ".part"
        try:
            with open(beside, "w", encoding="utf-8", newline="", opener=private) as out:
                count = self._write(database, out)
            os.replace(beside, self["out"])
        except OSError as exc:
            raise ConfigError(
                f"--out {self['out']}: it cannot be written: {exc}"
            ) from exc
        print(f"{count} calls in {self['out']}", file=sys.stderr)
        return 0

    def _write(self, database: Database, out: TextIO) -> int:
        count = 0
        write = self._jsonl(database, out) if self["format"] == "jsonl" else _csv(out)
        for row in self._rows(database):
            write(row)
            count += 1
        return count

    def _rows(self, database: Database) -> Iterator[CallRow]:
        before: tuple[float, str] | None = None
        while True:
            rows = database.calls(self.query(limit=_PAGE, before=before))
            yield from rows
            if len(rows) < _PAGE:
                return
            before = rows[-1].started_at, rows[-1].call_id

    @staticmethod
    def _jsonl(database: Database, out: TextIO) -> Callable[[CallRow], None]:
        def write(row: CallRow) -> None:
            call = database.call(row.call_id)
            shown = None if call is None else stored_call_json(call)
            out.write(json.dumps(shown) + "\n")

        return write


def _csv(out: TextIO) -> Callable[[CallRow], None]:
    of_record = ("turns", "barge_ins", "turn_latency_p50")
    writer = csv.writer(out)
    writer.writerow((*_COLUMNS, *of_record))

    def write(row: CallRow) -> None:
        values = [getattr(row, name) for name in _COLUMNS]
        values += [row.record.get(name) for name in of_record]
        writer.writerow([_harmless(value) for value in values])

    return write


#: A cell that begins with one of these is a formula (OWASP, CSV Injection).
_BEGINS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")

#: A plain number is harmless, and other programs need it unchanged.
_PLAIN_NUMBER: Final = re.compile(r"[+-][0-9]+")


def _harmless(value: object) -> Any:
    """
    Return a value that a spreadsheet does not take for a formula, nor a terminal for a
    control sequence: callers choose parts of it.
    """
    if not isinstance(value, str):
        return value
    begins = value.startswith(_BEGINS_A_FORMULA)
    is_formula = begins and not _PLAIN_NUMBER.fullmatch(value)
    return ("'" if is_formula else "") + printable(value)


class ReplayOptions(NameFirst):
    synopsis = "FILE"
    longdesc = (
        "Run a captured call (twistd chimegw --capture DIR) again, and show the"
        " differences."
    )
    optParameters: ClassVar = [["most", "n", 20, "Maximum differences to print.", int]]

    def parseArgs(self, path: str) -> None:  # type: ignore[override]
        self["path"] = path

    def run(self, reactor: Any) -> int:
        # Imported when used: it imports much of the gateway.
        from chime_gateway.agents.line.lines import Lines
        from chime_gateway.capture.replay import replay_file, report_lines

        report = replay_file(self["path"], Lines)
        for line in report_lines(report, self["most"]):
            print(printable(line))
        return 1 if report.differences else 0
