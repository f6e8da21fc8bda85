from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.realtime.events import (
    Event,
    PartAdded,
    PlaybackStarted,
    PlaybackStopped,
    Unrecognized,
)
from chime_gateway.wire.realtime.reader import READERS


def read(kind: str, **members: Any) -> Event:
    payload = json.dumps({"type": kind, **members}).encode()
    return READERS["ga"].receive(payload, False)


class PlaybackTests(SynchronousTestCase):
    def test_events_of_the_output_buffer_are_read(self) -> None:
        for kind, event in (
            ("started", PlaybackStarted("r")),
            ("stopped", PlaybackStopped("r", is_cut=False)),
            ("cleared", PlaybackStopped("r", is_cut=True)),
        ):
            name = f"output_audio_buffer.{kind}"
            self.assertEqual(read(name, response_id="r"), event)
            # The response's id may be missing; malformed events are ignored.
            self.assertEqual(read(name, response_id=None).response_id, "")  # type: ignore[union-attr]
            self.assertEqual(read(name, response_id=[7]), Unrecognized(name))

    def test_audio_parts_of_an_item_are_recognized(self) -> None:
        kind = "response.content_part.added"
        at = {"response_id": "r", "item_id": "i", "content_index": 1}
        for part, is_audio in (
            ("audio", True),
            ("output_audio", True),
            ("text", False),
        ):
            event = read(kind, **at, part={"type": part})
            self.assertEqual(event, PartAdded("r", "i", 1, is_audio))
        self.assertEqual(read(kind, **at, part=None), Unrecognized(kind))
