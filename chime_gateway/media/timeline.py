"""
Places the caller's audio by its RTP timestamps, and fills gaps to the sample.

A timestamp says where a packet's audio belongs (RFC 3550 section 5.1), and so what is
missing before it: lost packets, or a pause of the sender (DTX).  The model gets a
continuous stream that lasts as long as the RTP clock says; its VAD needs that.

While nothing comes, the stream is filled in real time, a little behind.  Audio for a
time that is already filled is too late, unless the sender's clock stood still.  When
the clock jumps, the timeline starts again at the new timestamp, and fills only the
time that has passed locally.

The jitter buffer orders the packets and gives up missing ones.  Audio is G.711: a byte
is a sample, and a sample is one unit of the timestamp.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import Factory, define

from chime_gateway.audio import PTIME_MS

#: When nothing has come for this long, the stream is filled.  Audio that the network
#: delays by less is heard in full.  A VAD measures the audio that it hears; so it finds
#: the end of a turn no later, if it waits for at least this much silence.
PAUSE_SECONDS: Final = 0.5

#: The sender's clock may be ahead of the local one by this much, and run faster by one
#: part in 2,000.  A timestamp beyond that is not believed.
_MAX_AHEAD_SECONDS: Final = 1.0
_MAX_SKEW: Final = 0.0005

#: Timestamps taken from a wall clock vary a little.  A smaller gap is ignored.
_TOLERANCE_SECONDS: Final = 0.005

#: The most that is filled where a clock jumps.  A longer pause was filled while it
#: lasted.
_MAX_REJOIN_SECONDS: Final = PAUSE_SECONDS + 0.2

#: If all packets are late for this long, and do not come faster than real time, they
#: are not late: the sender's clock stood still in a pause.
_MAX_LATE_SECONDS: Final = 0.2

#: Audio that was delayed on its way comes faster than real time, by this factor.
_HELD_UP_PACE: Final = 1.25

#: The most late packets that are kept until that is decided.
_MAX_LATE_PACKETS: Final = 64

#: The most that is filled at once, whatever a timestamp says.
_MAX_FILL_SECONDS: Final = 30.0

_FRAME_SECONDS: Final = PTIME_MS / 1000


class Filling(Protocol):
    """Makes the audio that fills gaps."""

    def heard(self, audio: bytes) -> None:
        """Take the last audio before a gap."""

    def conceal(self, byte_count: int) -> bytes:
        """Return audio in place of lost packets, which fades out."""

    def silence(self, byte_count: int, noise: int | None) -> bytes:
        """
        Return audio for a pause.

        @param noise: its level, in -dBov (RFC 3389 section 3).  C{None}: digital
            silence.
        """


@define
class Pause:
    """
    A time in which no audio comes.

    @ivar noise: the level of comfort noise, if the sender announced the pause.
    @ivar invented: samples filled in since the last audio, in real time.
    @ivar late: packets for a time that was filled: timestamp, audio, time of arrival.
    """

    noise: int | None = None
    invented: int = 0
    late: list[tuple[int, bytes, float]] = Factory(list)


class Timeline:
    """
    The timeline of one RTP stream.

    @param rate: of the timestamps, in Hz.
    @ivar head: the timestamp up to which audio was passed on.
    @ivar arrived: when the last audio came; C{None}: none is expected yet.
    @ivar pause: the current pause; C{None}: none is known.
    @ivar frame: samples in 20 ms.
    @ivar before: the last audio but one that was passed on, a frame or more.  Audio
        that is passed on without L{place} has to be put into it and C{last}, or given
        to L{heard}.
    @ivar last: the last audio that was passed on, a frame or more.
    @ivar late: packets that came when their time was filled already.
    @ivar resets: how often the sender's clock jumped and was followed anew.
    """

    __slots__ = (
        *("_began", "_filling", "_origin", "_rate", "_tolerance", "arrived"),
        *("before", "frame", "head", "last", "late", "pause", "resets"),
    )

    def __init__(self, filling: Filling, rate: int) -> None:
        self.head = 0
        self.arrived: float | None = None
        self.pause: Pause | None = None
        self.late = 0
        self.resets = 0
        self.before = self.last = b""
        self._filling = filling
        self._rate = rate
        self._tolerance = int(_TOLERANCE_SECONDS * rate)
        self.frame = int(_FRAME_SECONDS * rate)
        self._began: float | None = None  # when the first audio came
        self._origin = 0  # the timestamp of that moment, by the sender's current clock

    def expect(self, now: float) -> None:
        """Audio may come from now on.  Until it does, there is a pause."""
        if self.arrived is None:
            self.arrived = now

    def set_filling(self, filling: Filling) -> None:
        """Change the codec.  Earlier audio cannot be used for concealment then."""
        self._filling = filling
        self.before = self.last = b""

    def place(
        self,
        timestamp: int,
        payload: bytes,
        now: float,
        ready: list[bytes],
        *,
        lost: bool,
    ) -> float:
        """
        Take the next audio, in order.

        @param ready: audio to pass on is added here.
        @param lost: packets before it were given up.
        @return: how late it was, in seconds; 0: it was not late.
        """
        gap = ((timestamp - self.head + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        pause = self.pause
        invented = 0 if pause is None else pause.invented
        late = 0
        if self._began is None:
            self._began = now
            self._origin = timestamp
        elif gap == 0:
            pass
        elif not lost and not invented and -self._tolerance <= gap <= self._tolerance:
            timestamp = self.head
        elif gap > 0 and self._is_believed(gap, now):
            self._fill(gap, ready, lost=lost)
        elif gap < 0 and -gap <= invented + self._tolerance:
            late = -gap
            if pause is not None and late >= len(payload):
                self._came_late(pause.late, (timestamp, payload, now), ready)
                return late / self._rate
            payload = payload[late:]
            timestamp = self.head
        else:
            self._rejoin(timestamp, len(payload), now, ready)
        self.head = (timestamp + len(payload)) & 0xFFFFFFFF
        self.arrived = now
        self.pause = None
        self.heard(payload)
        ready.append(payload)
        return late / self._rate

    def paused(
        self, timestamp: int, noise: int, now: float, ready: list[bytes], *, lost: bool
    ) -> None:
        """The sender announces a pause from C{timestamp} on (RFC 3389)."""
        if self._began is None:
            self._began = now
            self._origin = self.head = timestamp
            self.arrived = now
        gap = ((timestamp - self.head + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        if gap > 0 and self._is_believed(gap, now):
            self._fill(gap, ready, lost=lost)
            self.head = timestamp
            self.arrived = now
            self.pause = None
        # Otherwise only the time has passed that was filled since the last audio.
        if self.pause is None:
            self.pause = Pause(noise)
        else:
            self.pause.noise = noise

    def fill_pause(self, now: float, behind: float) -> bytes:
        """
        Fill the stream while nothing comes.

        @param behind: seconds for which packets may still be on their way.
        @return: audio for the time that has passed; it may be empty.
        """
        arrived, pause = self.arrived, self.pause
        if arrived is None:
            return b""
        passed = now - arrived
        is_announced = pause is not None and pause.noise is not None
        if passed < PAUSE_SECONDS and not is_announced:
            return b""
        if pause is None:
            pause = self.pause = Pause()
        elif pause.late:
            if now - pause.late[-1][2] < _MAX_LATE_SECONDS:
                return b""  # it is not decided yet whether these are passed on
            pause.late.clear()
        owed = int((passed - behind) / _FRAME_SECONDS + 1e-6) * self.frame
        missing = owed - pause.invented
        if missing <= 0:
            return b""
        ready: list[bytes] = []
        self._fill(missing, ready, lost=not is_announced)
        pause.invented += missing
        self.head = (self.head + missing) & 0xFFFFFFFF
        return b"".join(ready)

    def heard(self, audio: bytes) -> None:
        """Audio was passed on without L{place}."""
        if len(self.last) < self.frame:
            self.last += audio
        else:
            self.before, self.last = self.last, audio

    def stalled(self, now: float, seconds: float) -> None:
        """
        This process stalled.  Packets that came meanwhile are not read yet, so that
        time does not count as a pause.
        """
        if self.arrived is not None:
            self.arrived = min(now, self.arrived + seconds)

    # -- inside ----------------------------------------------------------------

    def _is_believed(self, gap: int, now: float) -> bool:
        """Return whether this much time may have passed at the sender."""
        assert self._began is not None
        passed = now - self._began
        given = (self.head - self._origin) & 0xFFFFFFFF
        most = passed * (1 + _MAX_SKEW) + _MAX_AHEAD_SECONDS
        return (
            given + gap <= most * self._rate and gap <= _MAX_FILL_SECONDS * self._rate
        )

    def _came_late(
        self,
        late: list[tuple[int, bytes, float]],
        packet: tuple[int, bytes, float],
        ready: list[bytes],
    ) -> None:
        """Take audio whose time was filled already.  Decide whether it is late."""
        self.late += 1
        late.append(packet)
        if len(late) > _MAX_LATE_PACKETS:
            del late[0]
        first, payload, since = late[0]
        passed = packet[2] - since
        if passed < _MAX_LATE_SECONDS:
            return
        spoken = (packet[0] - first) & 0xFFFFFFFF
        if spoken > passed * self._rate * _HELD_UP_PACE:
            del late[:-1]
            return
        self.late -= len(late)
        self._rejoin(first, len(payload), since, ready)
        self.head = first
        self.pause = None
        for timestamp, payload, came_at in late:
            self.place(timestamp, payload, came_at, ready, lost=False)

    def _rejoin(
        self, timestamp: int, byte_count: int, now: float, ready: list[bytes]
    ) -> None:
        """The sender's clock jumped: fill the time that has passed locally."""
        self.resets += 1
        invented = 0 if self.pause is None else self.pause.invented
        passed = 0.0 if self.arrived is None else now - self.arrived
        missing = int(passed * self._rate) - invented - byte_count
        missing = min(missing, int(_MAX_REJOIN_SECONDS * self._rate))
        given = (self.head - self._origin) & 0xFFFFFFFF
        assert self._began is not None
        in_all = int((now - self._began) * self._rate) - given
        missing = min(missing, in_all)
        if missing > self._tolerance:
            self._fill(missing, ready, lost=True)
            given += missing
        self._origin = (timestamp - given) & 0xFFFFFFFF

    def _fill(self, byte_count: int, ready: list[bytes], *, lost: bool) -> None:
        noise = None if self.pause is None else self.pause.noise
        if lost and noise is None:
            if self.last:
                self._filling.heard(self.before + self.last)
                self.before = self.last = b""
            ready.append(self._filling.conceal(byte_count))
        else:
            ready.append(self._filling.silence(byte_count, noise))
