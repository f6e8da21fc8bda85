from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_8000, L16_16000, L16_24000, PCMA, PCMU
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.media_stream import twilio
from chime_gateway.wire.media_stream.dialect import (
    DigitPressed,
    Ignored,
    MarkReached,
    Started,
    Stopped,
    Transferred,
)
from chime_gateway.wire.media_stream.twilio import (
    MAX_ID_CHARS,
    MAX_PARAMETERS,
    TwilioStream,
    parse_envelope,
)
from tests.support.odd_json import base64_texts, messages

#: Messages as Twilio sends them: every number is a string.
START: dict[str, Any] = {
    "event": "start",
    "sequenceNumber": "1",
    "streamSid": "MZ1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {
            "encoding": "audio/x-mulaw",
            "sampleRate": 8000,
            "channels": 1,
        },
        "customParameters": {"agent": "sales"},
    },
}
AUDIO = bytes(range(160))
MEDIA: dict[str, Any] = {
    "event": "media",
    "sequenceNumber": "2",
    "streamSid": "MZ1",
    "media": {
        "track": "inbound",
        "chunk": "1",
        "timestamp": "5",
        "payload": base64.b64encode(AUDIO).decode(),
    },
}


def text(message: Any) -> bytes:
    return json.dumps(message).encode()


def started(**start: Any) -> TwilioStream:
    stream = TwilioStream()
    stream.receive(text({**START, "start": {**START["start"], **start}}), False)
    return stream


class TwilioStreamTests(SynchronousTestCase):
    def test_connected_is_ignored(self) -> None:
        message = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        event = TwilioStream().receive(text(message), False)
        self.assertEqual(event, Ignored("connected"))

    def test_start_describes_the_stream(self) -> None:
        event = TwilioStream().receive(text(START), False)
        self.assertEqual(event, Started("MZ1", "CA1", PCMU, {"agent": "sales"}))

    def test_media_is_audio(self) -> None:
        self.assertEqual(started().receive(text(MEDIA), False), AUDIO)

    def test_media_before_start_is_audio(self) -> None:
        self.assertEqual(TwilioStream().receive(text(MEDIA), False), AUDIO)

    def test_unquoted_numbers_and_missing_members_are_accepted(self) -> None:
        for message in (
            {**MEDIA, "sequenceNumber": 2},
            {**MEDIA, "media": {**MEDIA["media"], "chunk": 1, "timestamp": 5}},
            {"event": "media", "media": {"payload": MEDIA["media"]["payload"]}},
            {**MEDIA, "extra": {"deep": [1, None]}},
        ):
            with self.subTest(message=message):
                self.assertEqual(started().receive(text(message), False), AUDIO)
        event = TwilioStream().receive(text({"event": "start", "start": {}}), False)
        self.assertEqual(event, Started("", "", PCMU, {}))

    def test_every_media_format_is_read(self) -> None:
        for encoding, rate, codec in (
            ("audio/x-mulaw", "8000", PCMU),
            ("audio/x-alaw", 8000, PCMA),
            ("audio/x-l16", 8000, L16_8000),
            ("audio/x-l16", "16000", L16_16000),
            ("AUDIO/L16", 24000, L16_24000),
        ):
            with self.subTest(encoding=encoding, rate=rate):
                media_format = {"encoding": encoding, "sampleRate": rate}
                self.assertIs(started(mediaFormat=media_format).codec, codec)

    def test_an_unsupported_format_is_refused_with_the_supported_ones(self) -> None:
        for media_format in (
            {"encoding": "audio/x-opus", "sampleRate": 48000},
            {"encoding": "audio/x-mulaw", "sampleRate": 16000},
            {"encoding": "audio/x-l16", "sampleRate": 8000, "channels": 2},
        ):
            with self.subTest(media_format=media_format):
                error = self.assertRaises(
                    RemoteProtocolError, started, mediaFormat=media_format
                )
                self.assertIn("audio/x-l16 at 8000, 16000 or 24000", str(error))

    def test_marks_digits_and_stop_are_read(self) -> None:
        stream = started()
        for message, event in (
            ({"event": "mark", "mark": {"name": "m7"}}, MarkReached("m7")),
            ({"event": "dtmf", "dtmf": {"digit": "#"}}, DigitPressed("#")),
            ({"event": "dtmf", "dtmf": {"digit": 5}}, DigitPressed("5")),
            ({"event": "dtmf", "dtmf": {"digit": "Z"}}, Ignored("digit")),
            ({"event": "stop", "stop": {"callSid": "CA1"}}, Stopped()),
            ({"event": "stop"}, Stopped()),
            ({"event": "brand_new"}, Ignored("unknown_event")),
        ):
            with self.subTest(message=message):
                self.assertEqual(stream.receive(text(message), False), event)

    def test_capabilities_are_read_from_start(self) -> None:
        for said, understood in (
            (["hangup", "transfer", "dtmf"], {"hangup", "transfer", "dtmf"}),
            (["transfer", "teleport", 5, None], {"transfer"}),
            ([], set()),
            (None, set()),
        ):
            start = {**START, "start": {**START["start"], "capabilities": said}}
            started = TwilioStream().receive(text(start), False)
            assert isinstance(started, Started)
            self.assertEqual(started.capabilities, understood)

    def test_the_result_of_a_transfer_is_read(self) -> None:
        for outcome, fault in (
            ({"id": "t1", "ok": True}, ""),
            ({"id": "t1", "ok": False, "reason": "busy"}, "busy"),
            ({"id": "t1", "ok": False}, "no reason given"),
            ({"id": "t1", "ok": False, "reason": "x" * 500}, "x" * 200),
        ):
            message = {"event": "transferred", "transfer": outcome}
            event = TwilioStream().receive(text(message), False)
            self.assertEqual(event, Transferred("t1", fault))
        bads: list[Any] = [None, {}, {"id": 1, "ok": True}, {"id": "t1", "ok": "yes"}]
        for bad in bads:
            message = {"event": "transferred", "transfer": bad}
            with self.assertRaises(RemoteProtocolError):
                TwilioStream().receive(text(message), False)

    def test_commands_for_carriers_with_capabilities(self) -> None:
        stream = TwilioStream()
        stream.receive(text(START), False)
        self.assertEqual(
            json.loads(stream.transfer("t1", "+1555")),
            {
                "event": "transfer",
                "streamSid": "MZ1",
                "transfer": {"id": "t1", "target": "+1555"},
            },
        )
        hangup = json.loads(stream.hang_up("completed", "bye"))
        self.assertEqual(hangup["hangup"], {"outcome": "completed", "reason": "bye"})
        self.assertEqual(json.loads(stream.press("5"))["dtmf"], {"digit": "5"})

    def test_audio_of_other_streams_and_tracks_is_ignored(self) -> None:
        stream = started()
        outbound = {**MEDIA, "media": {**MEDIA["media"], "track": "outbound"}}
        self.assertEqual(
            stream.receive(text({**MEDIA, "streamSid": "MZ2"}), False),
            Ignored("foreign_stream"),
        )
        self.assertEqual(
            stream.receive(text(outbound), False), Ignored("outbound_track")
        )

    def test_malformed_messages_are_rejected(self) -> None:
        payload = MEDIA["media"]["payload"]
        for name, message in {
            "empty": b"",
            "not JSON": b"{",
            "not an object": b"[]",
            "not UTF-8": b'{"event":"\xff\xfe"}',
            "cut": text(MEDIA)[:-1],
            "deep": b"[" * 100_000,
            "deep inside": b'{"event":"x","y":' + b"[" * 100_000,
            "event is a number": b'{"event":5}',
            "no event": b"{}",
            "no media": b'{"event":"media"}',
            "media is text": b'{"event":"media","media":"x"}',
            "no payload": b'{"event":"media","media":{}}',
            "payload is null": b'{"event":"media","media":{"payload":null}}',
            "not base64": text({**MEDIA, "media": {"payload": "@@@@"}}),
            "cut base64": text({**MEDIA, "media": {"payload": payload[:-1]}}),
            "mark without a name": b'{"event":"mark","mark":{}}',
            "dtmf without a digit": b'{"event":"dtmf","dtmf":{"digit":[]}}',
            "start is text": b'{"event":"start","start":"now"}',
            "no start": b'{"event":"start"}',
            "rate is a word": text(
                {**START, "start": {"mediaFormat": {"sampleRate": "fast"}}}
            ),
            "rate is huge": b'{"event":"start","start":{"mediaFormat":{"sampleRate":'
            + b"9" * 5000
            + b"}}}",
            "many parameters": text(
                {
                    **START,
                    "start": {
                        "customParameters": {
                            str(n): "" for n in range(MAX_PARAMETERS + 1)
                        }
                    },
                }
            ),
            "long parameter": text(
                {**START, "start": {"customParameters": {"k": "x" * 10_000}}}
            ),
        }.items():
            with self.subTest(name), self.assertRaises(RemoteProtocolError):
                TwilioStream().receive(message, False)

    @given(
        st.sampled_from((0, 1, MAX_ID_CHARS, MAX_ID_CHARS + 1, 200_000)),
        st.sampled_from((0, 1, MAX_ID_CHARS, MAX_ID_CHARS + 1, 200_000)),
        st.booleans(),
    )
    def test_the_length_of_ids_is_limited(
        self, stream: int, call: int, is_outside: bool
    ) -> None:
        start = {"callSid": "C" * call, "streamSid": "" if is_outside else "S" * stream}
        message = {"event": "start", "streamSid": "S" * stream, "start": start}
        dialect = TwilioStream()
        if max(stream, call) > MAX_ID_CHARS:
            self.assertRaises(
                RemoteProtocolError, dialect.receive, text(message), False
            )
            return
        dialect.receive(text(message), False)
        self.assertLess(len(dialect.audio(AUDIO)[0]), 300 + MAX_ID_CHARS)

    def test_a_second_start_and_binary_are_refused(self) -> None:
        stream = started()
        self.assertRaises(RemoteProtocolError, stream.receive, text(START), False)
        self.assertRaises(RemoteProtocolError, stream.receive, AUDIO, True)

    def test_sent_messages_are_those_of_twilio(self) -> None:
        stream = started()
        message, is_binary = stream.audio(AUDIO)
        self.assertFalse(is_binary)
        payload = base64.b64encode(AUDIO).decode()
        self.assertEqual(
            [json.loads(m) for m in (message, stream.mark("m1"), stream.clear())],  # type: ignore[arg-type]
            [
                {"event": "media", "streamSid": "MZ1", "media": {"payload": payload}},
                {"event": "mark", "streamSid": "MZ1", "mark": {"name": "m1"}},
                {"event": "clear", "streamSid": "MZ1"},
            ],
        )

    def test_a_stream_id_is_escaped(self) -> None:
        stream = started(streamSid='"}}{"')
        message = json.loads(stream.audio(b"")[0])
        self.assertEqual(message["streamSid"], '"}}{"')

    @given(st.one_of(st.binary(), st.text().map(str.encode)))
    def test_garbage_gives_an_event_or_the_documented_error(
        self, payload: bytes
    ) -> None:
        with contextlib.suppress(RemoteProtocolError):
            TwilioStream().receive(payload, False)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["media", "start", "payload", "mediaFormat", "name", "digit"]
                    ),
                    inner,
                )
            ),
            max_leaves=8,
        ),
        st.sampled_from(["start", "media", "mark", "dtmf", "stop", "x"]),
    )
    def test_json_of_any_shape_gives_an_event_or_the_documented_error(
        self, value: Any, kind: str
    ) -> None:
        message = {**value, "event": kind} if isinstance(value, dict) else value
        with contextlib.suppress(RemoteProtocolError):
            TwilioStream().receive(text(message), False)


class OneDecodeTests(SynchronousTestCase):
    """Audio messages are decoded in one step, with the same result as in several."""

    @settings(max_examples=300, deadline=None)
    @given(
        messages(
            {
                "event": st.sampled_from(('"media"', '"media"', '"mark"', '"dtmf"')),
                "streamSid": st.sampled_from(('"MZ1"', '"MZ1"', '"MZ2"', "null")),
                "media": base64_texts.map(lambda value: f'{{"payload":{value}}}')
                | messages(
                    {
                        "payload": base64_texts,
                        "track": st.sampled_from(('"inbound"', '"outbound"')),
                    }
                ).map(lambda inner: inner.decode(errors="replace")),
                "mark": st.just('{"name":"m"}'),
            }
        )
    )
    def test_the_fast_path_gives_the_same_result_as_the_general_one(
        self, payload: bytes
    ) -> None:
        at_once = _outcome(payload, twilio._decode_frame)
        self.assertEqual(at_once, _outcome(payload, step_by_step))

    def test_a_usual_audio_message_is_decoded_once(self) -> None:
        stream = started()
        self.patch(twilio, "parse_envelope", None)
        self.assertEqual(stream.receive(text(MEDIA), False), AUDIO)


def step_by_step(payload: bytes) -> Any:
    return parse_envelope(payload, "message")


def _outcome(payload: bytes, decode: Callable[[bytes], Any]) -> object:
    stream = started()
    with mock.patch.object(twilio, "_decode_frame", decode):
        try:
            return stream.receive(payload, False)
        except RemoteProtocolError as exc:
            return str(exc)
