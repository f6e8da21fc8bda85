from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.audio import L16_16000
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.media_stream.dialect import Started, Stopped
from chime_gateway.wire.media_stream.raw import RawStream
from tests.wire.media_stream.test_twilio import MEDIA, text


class RawStreamTests(SynchronousTestCase):
    def test_binary_is_audio_and_text_is_control(self) -> None:
        stream = RawStream()
        start = {
            "event": "start",
            "start": {"mediaFormat": {"encoding": "audio/x-l16", "sampleRate": 16000}},
        }
        event = stream.receive(text(start), False)
        self.assertEqual(event, Started("", "", L16_16000, {}))
        self.assertEqual(stream.receive(b"\1\2\3", True), b"\1\2\3")
        self.assertEqual(stream.receive(b'{"event":"stop"}', False), Stopped())
        self.assertEqual(stream.audio(b"\1\2"), (b"\1\2", True))
        self.assertEqual(stream.clear(), b'{"event":"clear"}')
        self.assertIsNone(stream.mark("m"))

    def test_audio_in_json_is_refused(self) -> None:
        self.assertRaises(RemoteProtocolError, RawStream().receive, text(MEDIA), False)
