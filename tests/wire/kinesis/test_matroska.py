"""Matroska: files of ffmpeg and mkvmerge, and fragments as GetMedia sends them."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import tempfile
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.kinesis.matroska import Block, Event, MatroskaReader, Tag, Track


def element(number: int, payload: bytes, *, size: int | None = -1) -> bytes:
    """Write an element; C{size=None} writes an unknown size."""
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    if size is None:
        return name + b"\x01\xff\xff\xff\xff\xff\xff\xff" + payload
    length = len(payload) if size == -1 else size
    return name + (length | 1 << 56).to_bytes(8, "big") + payload


def tag(name: str, value: str | bytes) -> bytes:
    kind = 0x4487 if isinstance(value, str) else 0x4485
    data = value.encode() if isinstance(value, str) else value
    inner = element(0x45A3, name.encode()) + element(kind, data)
    return element(0x7373, element(0x67C8, inner))


def block(payload: bytes, at: int = 0, track: int = 1, flags: int = 0x80) -> bytes:
    head = bytes([0x80 | track]) + struct.pack(">hB", at, flags)
    return element(0xA3, head + payload)


def fragment(
    audio: list[bytes], tags: dict[str, str], cluster_size: int | None = -1
) -> bytes:
    """Write a fragment like GetMedia's: with unknown sizes wherever allowed."""
    entry = (
        element(0xD7, b"\1")
        + element(0x86, b"A_PCM/INT/LIT")
        + element(0xE1, element(0xB5, struct.pack(">d", 8000)) + element(0x9F, b"\1"))
    )
    blocks = b"".join(block(a, at * 64) for at, a in enumerate(audio))
    inside = (
        element(0x114D9B74, b"seek head")
        + element(0xEC, bytes(50))
        + element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big")))
        + element(0x1654AE6B, element(0xAE, entry))
        + element(0x1254C367, b"".join(tag(*item) for item in tags.items()))
        + element(0x1F43B675, element(0xE7, b"\x10\x00") + blocks, size=cluster_size)
        + element(0x1254C367, tag("AWS_KINESISVIDEO_CONTINUATION_TOKEN", "t1"))
    )
    return element(0x1A45DFA3, b"") + element(0x18538067, inside, size=None)


def read(data: bytes, *cuts: int) -> list[Event]:
    reader = MatroskaReader()
    events: list[Event] = []
    edges = [0, *cuts, len(data)]
    for start, end in pairwise(edges):
        events += reader.feed(data[start:end])
    return events


def audio(events: list[Event]) -> bytes:
    return b"".join(e.payload for e in events if isinstance(e, Block))


BEGIN = element(0x1A45DFA3, b"")
AUDIO = [bytes([n]) * 1024 for n in range(1, 6)]
TWO = fragment(AUDIO[:3], {"TransactionId": "a"}) + fragment(
    AUDIO[3:], {"TransactionId": "b"}, cluster_size=None
)


class FragmentTests(SynchronousTestCase):
    def test_tracks_tags_and_frames_keep_the_order_of_the_stream(self) -> None:
        track = Track(1, "A_PCM/INT/LIT", 8000.0, 1, 0)
        after = Tag("AWS_KINESISVIDEO_CONTINUATION_TOKEN", "t1")
        self.assertEqual(
            read(TWO),
            [
                track,
                Tag("TransactionId", "a"),
                *(Block(1, 4096 + 64 * n, AUDIO[n]) for n in range(3)),
                after,
                track,
                Tag("TransactionId", "b"),
                *(Block(1, 4096 + 64 * n, AUDIO[3 + n]) for n in range(2)),
                after,
            ],
        )

    def test_pieces_of_any_size_give_the_same_events(self) -> None:
        whole = read(TWO)
        self.assertEqual(read(TWO, *range(1, len(TWO))), whole)
        for cut in range(1, len(TWO)):
            self.assertEqual(read(TWO, cut), whole)

    def test_a_frame_is_returned_as_soon_as_it_is_complete(self) -> None:
        reader = MatroskaReader()
        end = TWO.index(AUDIO[0]) + 1024
        self.assertEqual(audio(reader.feed(TWO[: end - 1])), b"")
        self.assertEqual(audio(reader.feed(TWO[end - 1 : end])), AUDIO[0])

    def test_unneeded_elements_are_skipped_without_being_kept(self) -> None:
        reader = MatroskaReader()
        reader.feed(element(0x1A45DFA3, b"") + element(0xEC, b"", size=1 << 40))
        for _ in range(100):
            self.assertEqual(reader.feed(bytes(1 << 16)), [])
        self.assertEqual(len(reader._buffer), 0)

    def test_binary_tags_stay_bytes(self) -> None:
        data = BEGIN + element(0x1254C367, tag("B", b"\0\1"))
        self.assertEqual(read(data), [Tag("B", b"\0\1")])

    def test_laced_frames_are_joined(self) -> None:
        frames = [b"a" * 300, b"b" * 10, b"c" * 7]
        joined = b"".join(frames)
        xiph = b"\2" + b"\xff\x2d" + b"\x0a" + joined
        # EBML lacing: the first size, then differences.
        ebml = b"\2" + b"\x41\x2c" + b"\x5e\xdd" + joined
        fixed = b"\1" + b"x" * 20
        self.assertEqual(audio(read(BEGIN + block(xiph, flags=0x02))), joined)
        self.assertEqual(audio(read(BEGIN + block(ebml, flags=0x06))), joined)
        self.assertEqual(audio(read(BEGIN + block(fixed, flags=0x04))), b"x" * 20)


class HostileTests(SynchronousTestCase):
    def test_other_data_is_rejected(self) -> None:
        cases = {
            "no element": b"\x00\x01\x02",
            "long id": b"\x08\x11\x11\x11\x11\x81",
            "long size": b"\xec\x00" + bytes(8),
            "unknown size of a leaf": element(0xEC, b"", size=None),
            "huge block": element(0xA3, b"", size=1 << 30),
            "short block": element(0xA3, b"\x81\0"),
            "block without a track": element(0xA3, b""),
            "empty lacing": block(b"", flags=0x02),
            "lacing without sizes": block(b"\xff\xff", flags=0x02),
            "lacing cut short": block(b"\x04\x40", flags=0x06),
            "odd rate": element(0xAE, element(0xB5, b"123")) + element(0x1F43B675, b""),
            "long integer": element(0xE7, bytes(9)),
            "text": b"<html><body>403 Forbidden</body></html>",
        }
        for name, data in cases.items():
            with self.assertRaises(RemoteProtocolError, msg=name):
                read(data if name in ("text", "no element") else BEGIN + data)

    @given(st.binary(max_size=400))
    @settings(max_examples=300, deadline=None)
    def test_random_bytes_are_read_or_rejected(self, data: bytes) -> None:
        data = BEGIN + data
        try:
            whole = read(data)
        except RemoteProtocolError:
            with self.assertRaises(RemoteProtocolError):
                read(data, *range(1, len(data)))
        else:
            self.assertEqual(read(data, *range(1, len(data))), whole)

    @given(st.integers(0, len(TWO) - 1), st.integers(0, 255))
    @settings(max_examples=300, deadline=None)
    def test_data_with_a_wrong_byte_is_read_or_rejected(
        self, at: int, value: int
    ) -> None:
        data = TWO[:at] + bytes([value]) + TWO[at + 1 :]
        try:
            read(data)
        except RemoteProtocolError:
            pass
        else:
            self.assertLessEqual(len(audio(read(data))), len(data))


class ForeignFileTests(SynchronousTestCase):
    """Files that other programs have written."""

    def make(self, program: str, seconds: float = 0.3) -> tuple[bytes, bytes]:
        """@return: PCM audio, and a file that contains it."""
        if shutil.which(program) is None:
            raise SkipTest(f"{program} is not installed")
        rng = np.random.default_rng(7)
        samples = rng.integers(-32768, 32767, int(8000 * seconds)).astype("<i2")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.wav"), Path(folder, "out.mkv")
            with wave.open(str(source), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(samples.tobytes())
            command = {
                "ffmpeg": "-v error -i {} -c:a pcm_s16le -live 1 {}",
                "mkvmerge": "-q {} -o {}",
            }[program]
            arguments = command.format(source, target).split()
            subprocess.run([program, *arguments], check=True, capture_output=True)
            return samples.tobytes(), target.read_bytes()

    def check(self, program: str) -> None:
        pcm, data = self.make(program)
        whole = read(data)
        self.assertEqual(audio(whole), pcm)
        (track,) = [e for e in whole if isinstance(e, Track)]
        self.assertEqual((track.codec, track.rate), ("A_PCM/INT/LIT", 8000.0))
        self.assertEqual((track.channels, track.bits), (1, 16))
        times = [e.time_ms for e in whole if isinstance(e, Block)]
        self.assertEqual(times, sorted(times))
        self.assertEqual(read(data, *range(1, len(data))), whole)
        for cut in range(1, len(data)):
            self.assertEqual(read(data, cut), whole)
        # Two documents in sequence, like two fragments.
        self.assertEqual(read(data + data), whole + whole)

    def test_a_live_stream_of_ffmpeg_is_read_in_pieces_of_any_size(self) -> None:
        self.check("ffmpeg")

    def test_a_file_of_mkvmerge_is_read_in_pieces_of_any_size(self) -> None:
        self.check("mkvmerge")

    def test_a_long_file_is_read_in_random_pieces(self) -> None:
        for program in ("ffmpeg", "mkvmerge"):
            pcm, data = self.make(program, seconds=20)
            rng = random.Random(1)
            cuts = sorted(rng.sample(range(1, len(data)), 400))
            self.assertEqual(audio(read(data, *cuts)), pcm)
