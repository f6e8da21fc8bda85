"""Passes what an RTP stream receives to the call, for every leg that uses RTP."""

from __future__ import annotations

from collections.abc import Callable

from chime_gateway.interfaces import LegEvents


def _ignore(audio: bytes) -> None:
    """Takes audio while there is no call."""


class TowardsCall:
    """
    A part of L{chime_gateway.rtp.paced.StreamUser}, for legs.  Everything is ignored
    before the call begins and after it ends.

    @ivar caller_audio: called for every frame, so bound directly to the call.
    """

    def __init__(self) -> None:
        self._call = None

    @property
    def _call(self) -> LegEvents | None:
        return self._told

    @_call.setter
    def _call(self, call: LegEvents | None) -> None:
        self._told = call
        self.caller_audio: Callable[[bytes], None] = (
            _ignore if call is None else call.caller_audio
        )

    def gap_filled(self, audio: bytes) -> None:
        if self._told is not None:
            self._told.gap_filled(audio)

    def digit_pressed(self, digit: str) -> None:
        if self._told is not None:
            self._told.digit_pressed(digit)

    def audio_lost(self, byte_count: int) -> None:
        if self._told is not None:
            self._told.audio_dropped("lost_in_network", byte_count)
