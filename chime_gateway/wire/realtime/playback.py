"""
Events about audio that is sent outside of the events: which part of an item has audio,
and when the service sends it (C{output_audio_buffer}, over WebRTC only).
"""

from __future__ import annotations

from typing import Final

import msgspec

from chime_gateway.wire.realtime.events import (
    Event,
    PartAdded,
    PlaybackStarted,
    PlaybackStopped,
)
from chime_gateway.wire.realtime.members import Id

#: GA's name of the part, and its name in an item.
_AUDIO: Final = ("audio", "output_audio")


class _Part(msgspec.Struct):
    type: str = ""


class PartEvent(msgspec.Struct):
    part: _Part
    item_id: Id | None = ""
    response_id: Id | None = ""
    content_index: int | None = 0


class PlaybackEvent(msgspec.Struct):
    response_id: Id | None = ""


def part_added(message: PartEvent) -> Event:
    return PartAdded(
        message.response_id or "",
        message.item_id or "",
        message.content_index or 0,
        message.part.type in _AUDIO,
    )


def playback_started(message: PlaybackEvent) -> Event:
    return PlaybackStarted(message.response_id or "")


def playback_stopped(message: PlaybackEvent) -> Event:
    return PlaybackStopped(message.response_id or "", is_cut=False)


def playback_cleared(message: PlaybackEvent) -> Event:
    return PlaybackStopped(message.response_id or "", is_cut=True)
