"""
Simulates a caller who speaks a recording, listens, may interrupt, hangs up, and then
reports on the call.

A L{Line} carries the audio.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chime_gateway.audio import PTIME_MS, Codec
from chime_gateway.codec.level import FLOOR_DBFS, level_dbfs
from chime_gateway.codec.registry import decode

#: The agent has finished when nothing was heard for this long.
_ANSWER_OVER_SECONDS: Final = 1.0

#: The interval at which levels are shown.
_METER_SECONDS: Final = 0.1

#: On a line that does not report when the agent is cut short: how long into an
#: interruption the agent must be silent.
_CUT_SECONDS: Final = 1.0

#: Silence longer than this is not a pause within speech.
_PAUSE_SECONDS: Final = 0.06


@frozen(kw_only=True)
class CallPlan:
    """
    The caller's behaviour.

    @ivar utterances: what to say, encoded with the codec; each is said after the
        answer to the previous one.
    @ivar interrupt_after_seconds: for each utterance but the first, how much of the
        previous answer to hear before interrupting it; absent or C{None}: hear the
        answer to its end.
    @ivar wait_for_greeting: begin after the agent has spoken.
    @ivar lead_seconds: the silence before the first utterance.
    @ivar answer_seconds: how long to wait for an answer.
    @ivar keys: the keys to press, with their times in seconds of the call.  The caller
        does not hang up before the last one, and waits for an answer to it.
    """

    utterances: tuple[bytes, ...] = field(repr=lambda u: f"<{len(u)} utterances>")
    interrupt_after_seconds: tuple[float | None, ...] = ()
    wait_for_greeting: bool = False
    lead_seconds: float = 0.3
    answer_seconds: float = 15.0
    parameters: Mapping[str, str] = field(factory=dict, repr=False)
    keys: tuple[tuple[float, str], ...] = ()


@frozen
class Interruption:
    """
    One barge-in, as the caller heard it.

    @ivar heard_ms: how much of the agent's speech was heard before it fell silent.
    @ivar silence_after_ms: from the caller's first word to the agent's silence.
    """

    heard_ms: float
    silence_after_ms: float


@define
class CallReport:
    """
    What happened in the call.

    @ivar said: what the caller said, silence included; as long as C{heard}.
    @ivar heard: what the caller heard, silence included.
    @ivar answer_latencies: seconds from the caller's last word to the answer.
    @ivar unanswered: the number of utterances without an answer in time.
    @ivar stale_bytes: agent audio that came between a C{clear} and the end of the
        caller's interruption, which is old speech.
    @ivar close_code: the WebSocket's close code; over SIP 200, or the status of the
        refusal.
    @ivar audio_sizes: the lengths of the received audio messages.
    @ivar error: why there was no call; empty if there was one.
    @ivar keys: the keys that were pressed.
    """

    codec: Codec
    said: bytearray = field(factory=bytearray, repr=False)
    heard: bytearray = field(factory=bytearray, repr=False)
    answer_latencies: list[float] = Factory(list)
    interruptions: list[Interruption] = Factory(list)
    unanswered: int = 0
    stale_bytes: int = 0
    audio_sizes: set[int] = Factory(set)
    keys: str = ""
    received_bytes: int = 0
    close_code: int | None = None
    close_reason: str = ""
    error: str = ""


class Meter(Protocol):
    """Shows the progress of a call."""

    def show(
        self, seconds: float, state: str, caller_dbfs: float, agent_dbfs: float
    ) -> None: ...


class _CallerState(Enum):
    GREETING = "being greeted"
    SPEAKING = "speaking"
    WAITING = "waiting"
    LISTENING = "listening"
    DONE = "hanging up"


class Playout(Protocol):
    """
    What the caller hears.

    @ivar heard: everything since the start of the call, silence included.
    @ivar speech_bytes: how much of the agent's current speech was heard.
    """

    heard: bytearray
    speech_bytes: int

    @property
    def is_playing(self) -> bool: ...
    def quiet_seconds(self) -> float: ...
    def advance(self) -> None: ...
    def stop(self) -> None: ...


class Line(Protocol):
    """
    The connection that carries the caller's audio.

    @ivar says_clear: the line reports when the agent is cut short
        (L{SimulatedCaller.cleared}).
    """

    says_clear: bool

    @property
    def playout(self) -> Playout: ...

    def begin(self) -> None:
        """The call is connected: send what the carrier sends first."""

    def send_frame(self, frame: bytes, number: int) -> None: ...

    def press(self, digit: str) -> None:
        """Send a key, before the next frame or instead of it and some more."""

    def hang_up(self) -> None: ...


class SimulatedCaller:
    """
    The caller, independent of the kind of line.
    """

    def __init__(
        self,
        plan: CallPlan,
        codec: Codec,
        clock: IReactorTime,
        line: Line,
        meter: Meter | None = None,
    ) -> None:
        self.report = CallReport(codec)
        self._plan = plan
        self._codec = codec
        self._clock = clock
        self._line = line
        self._meter = meter
        self._timer: IDelayedCall | None = None
        self._began = 0.0
        self._frames = 0
        self._state = (
            _CallerState.GREETING if plan.wait_for_greeting else _CallerState.WAITING
        )
        self._next = 0
        self._keys = sorted(plan.keys, key=lambda key: key[0])
        self._to_say = b""
        self._stopped_at = 0.0
        self._began_speaking = 0.0
        self._is_cutting = False
        self._is_interrupting = False
        self._answer_came = False
        self._meter_at = 0.0
        self._loudest = FLOOR_DBFS

    def start(self) -> None:
        """Begin the call: the line is open."""
        self._began = self._stopped_at = self._clock.seconds()
        self._line.begin()
        self._timer = self._clock.callLater(0, self._tick)

    def stop(self) -> CallReport:
        """End the call: the line is gone."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        self._line.playout.stop()
        self.report.heard = self._line.playout.heard
        return self.report

    def audio_came(self, byte_count: int, is_speech: bool = True) -> None:
        """
        The line received audio from the agent.

        @param is_speech: the audio is more than the silence that keeps a line open.
        """
        report = self.report
        report.received_bytes += byte_count
        report.audio_sizes.add(byte_count)
        if not is_speech:
            return
        now = self._clock.seconds()
        if self._state is _CallerState.SPEAKING and (
            self._is_cutting
            or (self._is_interrupting and now - self._began_speaking > _CUT_SECONDS)
        ):
            report.stale_bytes += byte_count
        if self._state is _CallerState.WAITING and self._next and not self._answer_came:
            self._answer_came = True
            report.answer_latencies.append(now - self._stopped_at)
            self._state = _CallerState.LISTENING

    def cleared(self, heard_bytes: int) -> None:
        """The agent was cut short after this much of its speech was heard."""
        self._is_cutting = True
        self._is_interrupting = False
        now = self._clock.seconds()
        self._interrupted(heard_bytes, now - self._began_speaking)

    # -- inside ------------------------------------------------------------------

    def _interrupted(self, heard_bytes: int, after_seconds: float) -> None:
        heard_ms = heard_bytes * 1000 / self._codec.bytes_per_second
        self.report.interruptions.append(Interruption(heard_ms, after_seconds * 1000))

    def _look_for_a_cut(self, now: float) -> None:
        """Detect from the agent's silence that it was cut short."""
        playout = self._line.playout
        quiet = playout.quiet_seconds()
        spoken_for = now - self._began_speaking
        is_cut = quiet > _PAUSE_SECONDS and spoken_for > _CUT_SECONDS
        if self._is_interrupting and is_cut:
            self._is_interrupting = False
            after = max(0.0, spoken_for - quiet)
            self._interrupted(playout.speech_bytes, after)

    def _tick(self) -> None:
        """
        Send one frame each ptime on an absolute clock, and catch up after a delay.
        """
        now = self._clock.seconds()
        self._line.playout.advance()
        due = int((now - self._began) * 1000 / PTIME_MS + 1e-6) + 1
        while self._frames < due:
            self._frames += 1
            self._press(now)
            self._decide(now)
            self._send_frame()
        if self._state is _CallerState.DONE:
            self._timer = None
            self._line.hang_up()
            return
        self._show(now)
        ahead = self._began + self._frames * PTIME_MS / 1000 - self._clock.seconds()
        self._timer = self._clock.callLater(max(0.0, ahead), self._tick)

    def _press(self, now: float) -> None:
        while self._keys and now - self._began >= self._keys[0][0]:
            _, digit = self._keys.pop(0)
            self.report.keys += digit
            self._line.press(digit)
            is_last_said = self._next >= len(self._plan.utterances)
            if is_last_said and self._state is not _CallerState.SPEAKING:
                self._listen(now)

    def _listen(self, now: float) -> None:
        self._state = _CallerState.WAITING
        self._stopped_at = now
        self._answer_came = False

    def _decide(self, now: float) -> None:
        plan = self._plan
        state = self._state
        if state is _CallerState.SPEAKING:
            if not self._line.says_clear:
                self._look_for_a_cut(now)
            if not self._to_say:
                self._is_interrupting = False
                self._listen(now)
                self._is_cutting = False
        elif state is _CallerState.GREETING:
            is_over = self._line.playout.heard and self._is_answer_over()
            if is_over or now - self._began > plan.answer_seconds:
                self._speak(now)
        elif not self._next:
            if now - self._began >= plan.lead_seconds:
                self._speak(now)
        elif state is _CallerState.WAITING:
            if now - self._stopped_at > plan.answer_seconds:
                self.report.unanswered += 1
                self._speak(now)
        elif state is _CallerState.LISTENING:
            after = self._interrupts_after()
            heard = self._line.playout.speech_bytes / self._codec.bytes_per_second
            if self._is_answer_over() or (after is not None and heard >= after):
                self._speak(now)

    def _interrupts_after(self) -> float | None:
        index = self._next - 1
        seconds = self._plan.interrupt_after_seconds
        return seconds[index] if index < len(seconds) else None

    def _is_answer_over(self) -> bool:
        return self._line.playout.quiet_seconds() > _ANSWER_OVER_SECONDS

    def _speak(self, now: float) -> None:
        """Say the next utterance, or hang up after the last one."""
        if self._next >= len(self._plan.utterances):
            if not self._keys:
                self._state = _CallerState.DONE
            elif self._state is _CallerState.WAITING:
                self._stopped_at = now  # given up once, and counted once
                self._state = _CallerState.LISTENING
            return
        self._to_say = self._plan.utterances[self._next]
        self._next += 1
        self._began_speaking = now
        self._is_interrupting = (
            not self._line.says_clear and self._line.playout.is_playing
        )
        self._state = _CallerState.SPEAKING

    def _send_frame(self) -> None:
        size = self._codec.frame_bytes
        frame, self._to_say = self._to_say[:size], self._to_say[size:]
        frame += self._codec.silence(size - len(frame))
        self.report.said += frame
        if self._meter is not None:
            level = level_dbfs(decode(self._codec, frame))
            self._loudest = max(self._loudest, level)
        self._line.send_frame(frame, self._frames)

    def _show(self, now: float) -> None:
        if self._meter is None or now < self._meter_at:
            return
        self._meter_at = now + _METER_SECONDS
        window = int(_METER_SECONDS * self._codec.clock_rate) * self._codec.sample_bytes
        playout = self._line.playout
        heard = bytes(playout.heard[-window:]) if playout.is_playing else b""
        agent = level_dbfs(decode(self._codec, heard))
        self._meter.show(now - self._began, self._state.value, self._loudest, agent)
        self._loudest = FLOOR_DBFS
