from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.errors import ConfigError
from chime_gateway.net.system.certificates import (
    LOOK_SECONDS,
    Certificate,
    Certificates,
)
from chime_gateway.net.system.threads import NoThreadFree
from tests.support.files import temporary_folder

#: Changes of the two files: written completely, written in part, removed.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["certificate", "key"]),
        st.sampled_from(["1", "2", "3", "half", "gone", "nothing"]),
        st.booleans(),
    ),
    max_size=25,
)


class Pair:
    """A certificate and its key: they match if both files have the same content."""

    def __init__(self, folder: Path) -> None:
        self.paths = {name: folder / name for name in ("certificate", "key")}
        self.number = 0

    def write(self, name: str, text: str) -> None:
        path = self.paths[name]
        if text == "gone":
            path.unlink(missing_ok=True)
        elif text != "nothing":
            path.write_text(text)
            # Like file systems with timestamps in nanoseconds.
            self.number += 1
            os.utime(path, ns=(self.number, self.number))

    def files(self) -> list[str]:
        return [str(path) for path in self.paths.values()]

    def content(self) -> list[str]:
        return [p.read_text() if p.exists() else "" for p in self.paths.values()]

    def read(self) -> Shown:
        certificate, key = self.content()
        if certificate != key or certificate not in ("1", "2", "3"):
            raise ConfigError("they do not fit together")
        return Shown(certificate)


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def getContext(self) -> str:
        return self.text


class CertificatesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.pair = Pair(temporary_folder(self))
        for name in ("certificate", "key"):
            self.pair.write(name, "1")
        self.certificates = Certificates(execute, self.clock)
        self.certificate = Certificate("sip", self.pair.files, self.pair.read)
        self.certificates.add(self.certificate)
        self.certificates.start()

    @settings(max_examples=60, deadline=None)
    @given(STEPS)
    def test_the_last_matching_stable_pair_is_in_use(
        self, steps: list[tuple[str, str, bool]]
    ) -> None:
        self.setUp()
        in_force = "1"
        for name, text, is_looked_at in steps:
            self.pair.write(name, text)
            self.assertEqual(self.certificate.getContext(), in_force)
            if not is_looked_at:
                continue
            for _ in range(2):
                self.clock.advance(LOOK_SECONDS)
            one, other = self.pair.content()
            if one == other and one in "123" and one:
                in_force = one
            self.assertEqual(self.certificate.getContext(), in_force)

    def test_unfinished_files_are_not_read_and_an_error_is_logged_once(self) -> None:
        looked: list[list[str]] = []

        def read() -> Shown:
            looked.append(self.pair.content())
            return self.pair.read()

        self.certificate._read = read
        for text in ("half", "2"):
            self.pair.write("certificate", text)
            self.clock.advance(LOOK_SECONDS)
        self.pair.write("key", "2")
        for _ in range(20):
            self.clock.advance(LOOK_SECONDS)
        self.assertEqual(looked, [["2", "2"]])
        self.pair.write("key", "half")
        for _ in range(20):
            self.clock.advance(LOOK_SECONDS)
        self.assertEqual(len(looked), 2)
        self.assertEqual(self.certificate.getContext(), "2")

    def test_a_signal_rereads_at_once_even_unchanged_files(self) -> None:
        self.pair.write("certificate", "2")
        self.pair.write("key", "2")
        self.certificates.read_again()
        self.assertEqual(self.certificate.getContext(), "2")
        # The key does not match the certificate, which was not known before.
        self.pair.write("key", "3")
        self.certificates.read_again()
        self.assertEqual(self.certificate.getContext(), "2")

    def test_a_hanging_disk_is_tried_again(self) -> None:
        hanging: list[Deferred[Any]] = []

        def in_thread(function: Any, *arguments: Any) -> Deferred[Any]:
            hanging.append(Deferred())
            return hanging[-1]

        self.certificates._in_thread = in_thread
        self.clock.advance(LOOK_SECONDS)
        self.clock.advance(10 * LOOK_SECONDS)
        self.assertEqual(len(hanging), 1)
        hanging[0].errback(NoThreadFree("1 certificates threads are busy"))
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(len(hanging), 2)

    def test_after_the_stop_no_files_are_read(self) -> None:
        self.certificates.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
