from __future__ import annotations

import os
import sys
import unicodedata
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.net.system.standard_output import (
    UNREAD_STATUS,
    printable,
    printable_lines,
    read_or_not,
)

#: Includes no-break spaces, and joiners within a word and an emoji.
WORDS = (
    "Vraiment\u00a0?",
    "12\u202f000\u00a0€",
    "می\u200cرو",
    "👩\u200d💻",
    "क्\u200dष",
)


def harmful_characters(text: str) -> str:
    """Return the characters that a terminal or a reader of lines would interpret."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    found = (c for c in text if unicodedata.category(c) in kinds)
    return "".join(c for c in found if c not in "\u200c\u200d")


class PrintableTests(SynchronousTestCase):
    @given(st.text(max_size=30) | st.text("\x1b\x07\x9b\u2028\u202e\ud800\n\r\t\x7f a"))
    def test_a_printable_text_is_one_harmless_line(self, text: str) -> None:
        shown = printable(text)
        self.assertEqual(harmful_characters(shown), "", repr(text))
        if text.isprintable():
            self.assertEqual(shown, text)
        lines = printable_lines(text)
        rest = lines.replace("\n", "").replace("\r", "").replace("\t", "")
        self.assertEqual(harmful_characters(rest), "")
        self.assertEqual(lines.count("\n"), text.count("\n"))

    @given(st.lists(st.sampled_from(WORDS)))
    def test_ordinary_text_is_unchanged(self, words: list[str]) -> None:
        text = "\u3000".join(words)
        self.assertEqual(printable(text), text)
        self.assertEqual(printable_lines(text), text)


class StandardOutputTests(SynchronousTestCase):
    def output_to(self, descriptor: int) -> Any:
        stream = os.fdopen(descriptor, "w")
        self.addCleanup(stream.close)
        self.patch(sys, "stdout", stream)
        return stream

    def unread(self) -> Any:
        reader, writer = os.pipe()
        os.close(reader)
        return self.output_to(writer)

    def status(self, *lines: str, code: Any = None) -> Any:
        with self.assertRaises(SystemExit) as caught, read_or_not():
            for line in lines:
                print(line)
            if code is not None:
                raise SystemExit(code)
        return caught.exception.code

    def test_a_closed_reader_ends_the_command_with_its_own_status(self) -> None:
        for lines in (("one",), ("x" * 100_000,) * 3):
            for code in (None, 0, "a line"):
                with self.subTest(lines=len(lines), code=code):
                    stream = self.unread()
                    self.assertEqual(self.status(*lines, code=code), UNREAD_STATUS)
                    # The rest is not written again at the end of the process.
                    stream.flush()

    def test_no_output_is_not_an_error(self) -> None:
        self.unread()
        with read_or_not():
            """A command without output."""
        self.assertEqual(self.status(code=3), 3)

    def test_a_full_disk_is_reported_in_one_line(self) -> None:
        self.output_to(os.open("/dev/full", os.O_WRONLY))
        self.assertIn("No space left", self.status("one"))

    def test_an_error_of_a_file_names_the_file(self) -> None:
        self.output_to(os.open(os.devnull, os.O_WRONLY))
        with self.assertRaises(SystemExit) as caught, read_or_not():
            os.stat("/no/such/file")
        told = "/no/such/file: No such file or directory"
        self.assertEqual(caught.exception.code, told)

    def test_other_exits_are_unchanged(self) -> None:
        self.output_to(os.open(os.devnull, os.O_WRONLY))
        self.assertEqual(self.status("one", code="chimegw: no"), "chimegw: no")
        with self.assertRaises(ZeroDivisionError), read_or_not():
            raise ZeroDivisionError
