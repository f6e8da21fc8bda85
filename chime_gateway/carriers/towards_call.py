"""
What a stream of RTP hears, on its way to the call: the same for every leg that has one.
"""

from __future__ import annotations

from chime_gateway.interfaces import LegEvents


class TowardsCall:
    """
    A part of L{chime_gateway.rtp.paced.StreamUser}, for legs.  All goes nowhere before
    there is a call, and behind its end.
    """

    _call: LegEvents | None = None

    def caller_audio(self, audio: bytes) -> None:
        """Called for every frame."""
        if self._call is not None:
            self._call.caller_audio(audio)

    def gap_filled(self, audio: bytes) -> None:
        if self._call is not None:
            self._call.gap_filled(audio)

    def digit_pressed(self, digit: str) -> None:
        if self._call is not None:
            self._call.digit_pressed(digit)

    def audio_lost(self, byte_count: int) -> None:
        if self._call is not None:
            self._call.audio_dropped("lost_in_network", byte_count)
