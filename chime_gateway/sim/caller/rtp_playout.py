"""Places received RTP audio according to its timestamps, as a caller hears it."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from chime_gateway.audio import Codec


class RtpPlayout:
    """
    The received audio.  The stream is continuous, so the timestamps alone determine
    what is heard.

    @ivar heard: everything since the start of the call, silence included.
    @ivar speech_bytes: the length of the agent's current speech, which begins at the
        last packet with the marker bit.
    """

    def __init__(self, codec: Codec, clock: IReactorTime) -> None:
        self.heard = bytearray()
        self.speech_bytes = 0
        self._codec = codec
        self._clock = clock
        self._began = clock.seconds()
        self._base: int | None = None
        self._speech_from = 0
        self._spoke_at = self._began

    def receive(self, timestamp: int, marker: bool, payload: bytes) -> bool:
        """@return: whether the payload is more than silence."""
        codec = self._codec
        now = self._clock.seconds()
        if self._base is None:
            # The time before the first packet was silence.
            passed = int((now - self._began) * codec.clock_rate)
            self._base = timestamp - passed
        at = (timestamp - self._base) & 0xFFFFFFFF
        if at > len(self.heard) + codec.bytes_per_second * 60:
            return False
        if at > len(self.heard):
            self.heard += codec.silence(at - len(self.heard))
        self.heard[at : at + len(payload)] = payload
        if marker:
            self._speech_from = at
            self.speech_bytes = 0
        is_speech = bool(payload.strip(codec.silence_byte))
        if is_speech:
            self._spoke_at = now
            self.speech_bytes = at + len(payload) - self._speech_from
        return is_speech

    @property
    def is_playing(self) -> bool:
        return self.quiet_seconds() < 0.1

    def quiet_seconds(self) -> float:
        return self._clock.seconds() - self._spoke_at

    def advance(self) -> None:
        """Do nothing: the playout does not depend on time."""

    def stop(self) -> None:
        """Do nothing: there is nothing to stop."""
