"""
The pump between a caller's leg and an agent's session.

Caller to agent: audio is passed on at once, transcoded where the codecs differ.
Silence fills the time in which the caller's side sends nothing, because the model's
VAD needs a continuous stream.

Agent to caller: the agent speaks faster than real time.  The pump owns what is not
played yet, knows which item every byte belongs to, and on an interruption flushes the
leg and reports how much of each item was heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from chime_gateway.codec.prompt import prompt
from chime_gateway.codec.stream import Aligner, transcoder
from chime_gateway.codec.tone import waiting_tone
from chime_gateway.interfaces import AgentSession, CallLeg
from chime_gateway.media.item_ledger import Cut, ItemKey, remember
from chime_gateway.media.metronome import MAX_MADE_UP, SLOW_SECONDS
from chime_gateway.media.play_queue import FRAME_SECONDS, PlayQueue
from chime_gateway.media.recorder import Recorder
from chime_gateway.media.stats import MediaStats
from chime_gateway.settings.sound import Sound

#: When the caller's side has sent nothing for this long, the gap is filled with silence
#: (DTX, mute, a stalled link).  It is longer than a TCP retransmission, so that a short
#: delay does not put gaps into words.
GAP_SECONDS: Final = 0.2

#: The most of the caller's audio that is kept while the agent's session opens.
EARLY_SECONDS: Final = 2.0

#: Audio that is not heard this long after it should be is not waited for.  Twice the
#: carrier's lag is added.
_HEARD_SLACK_SECONDS: Final = 2.0

#: The longest that an agent in real time is expected to speak on.
_MOST_SAID_SECONDS: Final = 60.0


class MediaPump:
    """
    The media of one call.

    @param clock: seconds, monotonic.
    @param keep_early: keep what the caller says before the agent is ready, up to
        L{EARLY_SECONDS}.
    @param max_queue_seconds: the most of the agent's audio that may wait to be heard.
    @param observe_bridge: called about once a second with the time that a piece of
        audio took through the pump.  See L{PlayQueue} for the other callables.
    """

    __slots__ = (
        *("_active_responses", "_agent", "_align", "_clock", "_codec", "_cut_items"),
        *("_cut_responses", "_early", "_early_bytes", "_filled", "_frame_bytes"),
        *("_gap_seconds", "_heard_caller_at", "_heard_slack_seconds", "_is_at_pace"),
        *("_is_muted", "_observe_bridge", "_play_queue", "_probe_at"),
        *("_quiet_since", "_recorder", "_sample_bytes", "_slow_seconds", "_stats"),
        *("_to_agent", "_to_leg", "mark_reached", "queued_seconds", "report_heard"),
    )

    def __init__(
        self,
        leg: CallLeg,
        stats: MediaStats,
        clock: Callable[[], float],
        *,
        keep_early: bool,
        max_queue_seconds: float,
        observe_turn: Callable[[float], None] = lambda _: None,
        observe_bridge: Callable[[float], None] = lambda _: None,
        observe_began: Callable[[str, float], None] = lambda *_: None,
        observe_heard: Callable[[str, int, int, bool], None] = lambda *_: None,
        want_beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._stats = stats
        self._clock = clock
        self._observe_bridge = observe_bridge
        self._codec = leg.codec
        self._frame_bytes = leg.codec.frame_bytes
        # Whole samples, also for audio that is not passed on.
        is_wide = leg.codec.sample_bytes > 1
        self._align = Aligner(leg.codec.sample_bytes).align if is_wide else None
        self._play_queue = PlayQueue(
            leg,
            stats,
            max_seconds=max_queue_seconds,
            observe_turn=observe_turn,
            observe_began=observe_began,
            observe_heard=observe_heard,
            want_beat=want_beat,
        )
        self.report_heard = self._play_queue.report_heard
        self.mark_reached = self._play_queue.mark_reached
        self.queued_seconds = self._play_queue.queued_seconds

        self._recorder: Recorder | None = None
        self._agent: AgentSession | None = None
        self._sample_bytes = 1  # of the agent's codec
        self._is_muted = self._is_at_pace = False
        self._to_agent: Callable[[bytes], bytes] | None = None
        self._to_leg: Callable[[bytes], bytes] | None = None
        self._early: deque[bytes] | None = deque() if keep_early else None
        self._early_bytes = 0
        self._active_responses: set[str] = set()
        # With the ms at which to truncate it if more of it comes.
        self._cut_items: dict[ItemKey, int | None] = {}
        self._cut_responses: dict[str, None] = {}

        lag = leg.traits.lag_seconds
        self._gap_seconds = inf if leg.traits.keeps_time else GAP_SECONDS + lag
        # Up to this, no gap can begin before the next slow tick.
        self._slow_seconds = self._gap_seconds - SLOW_SECONDS
        self._heard_slack_seconds = _HEARD_SLACK_SECONDS + 2 * lag
        self._heard_caller_at = self._quiet_since = clock()
        self._filled, self._probe_at = 0, 0.0

    def record(self, recorder: Recorder) -> None:
        """Record both sides from now on."""
        self._recorder = self._play_queue.recorder = recorder

    # -- life ----------------------------------------------------------------

    def join(self, agent: AgentSession) -> None:
        """
        An agent's session is ready: join both sides.

        It may replace an earlier session of this call.  What that one said is still
        played, but its agent gets no more reports of what was heard.
        """
        if self._agent is None:
            self._heard_caller_at = self._quiet_since = self._clock()
        self._part_with_agent()
        codec = agent.traits.codec
        self._to_agent = transcoder(self._codec, codec)
        self._to_leg = transcoder(codec, self._codec)
        self._sample_bytes = codec.sample_bytes
        self._agent, self._is_at_pace = agent, not agent.traits.is_ahead
        early, self._early = self._early, None
        for audio in early or ():
            self._send(agent, audio)

    def detach_agent(self) -> None:
        """The agent is gone.  What it said is still played to the caller."""
        self._part_with_agent()
        self._early = None

    def _part_with_agent(self) -> None:
        self._agent, self._is_at_pace = None, False
        self._play_queue.session_ended(self._clock())
        self._active_responses.clear()
        self._cut_responses.clear()
        self._cut_items.clear()

    def stop(self) -> None:
        """Stop playing, sending and reporting."""
        self._agent = None
        self._early = None
        self._play_queue.stop(self._clock())

    # -- caller to agent -----------------------------------------------------

    def caller_audio(self, audio: bytes) -> None:
        """Take audio of any length, in the leg's codec."""
        now = self._heard_caller_at = self._quiet_since = self._clock()
        self._filled = 0
        self._stats.frames_in += len(audio) / self._frame_bytes
        if self._align is not None:
            audio = self._align(audio)
        if self._recorder is not None:
            self._recorder.caller(audio, now)
        agent = self._agent
        if agent is None:
            self._keep_early(audio)
            return
        if self._is_muted:
            audio = self._codec.silence(len(audio))
        if self._to_agent is not None:
            audio = self._to_agent(audio)
        agent.send_audio(audio)
        if now >= self._probe_at:
            self._probe_at = now + 1.0
            self._observe_bridge(self._clock() - now)

    def gap_filled(self, audio: bytes) -> None:
        """The leg has filled a gap: nothing came from the caller."""
        self._quiet_since = self._clock()
        self._filled = 0
        self._stats.frames_filled += len(audio) // self._frame_bytes
        agent = self._agent
        if agent is not None:
            if self._is_muted:
                audio = self._codec.silence(len(audio))
            self._send(agent, audio)
        elif self._early is not None:
            self._keep_early(audio)

    def mute_caller(self) -> None:
        """From now on the agent hears silence, and cannot be interrupted."""
        self._is_muted = True

    def _send(self, agent: AgentSession, audio: bytes) -> None:
        if self._to_agent is not None:
            audio = self._to_agent(audio)
        agent.send_audio(audio)

    def _keep_early(self, audio: bytes) -> None:
        if self._early is None:
            self.drop("no_agent", len(audio))
            return
        self._early.append(audio)
        self._early_bytes += len(audio)
        while self._early_bytes > EARLY_SECONDS * self._codec.bytes_per_second:
            oldest = self._early.popleft()
            self._early_bytes -= len(oldest)
            self.drop("agent_not_ready", len(oldest))

    def _fill_gap(self, agent: AgentSession, gap: float) -> None:
        if gap < self._gap_seconds:
            return
        missing = int(gap / FRAME_SECONDS + 1e-6) - self._filled
        if missing > 0:
            self._filled += missing
            self._stats.frames_filled += missing
            self._send(agent, self._codec.silence(missing * self._frame_bytes))

    # -- agent to caller -----------------------------------------------------

    def response_started(self, response_id: str) -> None:
        self._active_responses.add(response_id)

    def refuse(self, response_id: str) -> None:
        """Drop all audio of this response."""
        remember(self._cut_responses, response_id)

    def response_done(self, response_id: str) -> None:
        """No more audio will come for any item of this response."""
        self._active_responses.discard(response_id)
        self._play_queue.response_done(response_id, self._clock())

    def agent_audio_done(self, item_id: str) -> None:
        """No more audio will come for this item."""
        self._play_queue.item_done(item_id, self._clock())

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None:
        """Take audio of any length, in the agent's codec."""
        if self._agent is None:
            self.drop("call_ending", len(audio))
            return
        now = self._clock()
        key = (item_id, content_index)
        if key in self._cut_items or response_id in self._cut_responses:
            self._drop_cut(self._agent, key, audio)
            return
        item = self._play_queue.current
        if item is None or item.key != key:
            item = self._play_queue.item(response_id, key, now)
        item.received_bytes += len(audio)
        if self._sample_bytes > 1:
            audio = item.whole_samples(audio, self._sample_bytes)
        if self._to_leg is not None:
            audio = self._to_leg(audio)
        self._play_queue.add(item, audio, now)
        if now >= self._probe_at:
            self._probe_at = now + 1.0
            self._observe_bridge(self._clock() - now)

    def _drop_cut(self, agent: AgentSession, key: ItemKey, audio: bytes) -> None:
        """Drop audio of an item that was interrupted."""
        frame_bytes = agent.traits.codec.frame_bytes
        self._stats.dropped["stale"] += -(-len(audio) // frame_bytes)
        played_ms = self._cut_items.get(key)
        if played_ms is not None:
            self._cut_items[key] = None
            agent.truncate(*key, played_ms)

    def play_local(self, audio: bytes) -> None:
        """
        Play a sound of the gateway, in the leg's codec, after all that is queued.  An
        interruption cuts it as well.
        """
        self._play_queue.add_local(audio, self._clock())

    def play_sound(self, sound: Sound | None) -> None:
        """@param sound: C{None}: the tone."""
        if sound is None:
            self.play_tone()
        else:
            self.play_local(prompt(sound, self._codec))

    def play_tone(self) -> None:
        """Play a soft tone that shows that the line is alive."""
        self.play_local(waiting_tone(self._codec))

    # -- turns ---------------------------------------------------------------

    def turn_ended(self) -> None:
        """The caller stopped speaking: the agent's latency is measured from here."""
        self._play_queue.turn_ended_at = self._clock()

    def interrupt(self) -> bool:
        """
        The caller speaks: silence the agent at once and tell it, item by item,
        how much was heard.

        @return: whether anything was cut.
        """
        for response_id in self._active_responses:
            if response_id:
                remember(self._cut_responses, response_id)
        self._active_responses.clear()
        cuts = self._play_queue.cut(self._clock())
        of_agent = [cut for cut in cuts if not cut.item.is_local]
        for cut in of_agent:
            self._play_queue.report_cut(cut)
            remember(self._cut_items, cut.item.key, self._truncate(cut))
        if of_agent:
            self._stats.barge_ins += 1
        return bool(cuts)

    def _truncate(self, cut: Cut) -> int | None:
        """
        Tell the agent how much of an item was heard, if it has said more.

        @return: the ms that were heard, if it is not known yet whether more comes.
        """
        agent, item = self._agent, cut.item
        if agent is None or item.is_of_past_session or agent.traits.cuts_itself:
            return None
        received_ms = agent.traits.codec.duration_ms(item.received_bytes)
        played_ms = min(self._codec.duration_ms(cut.heard_bytes), received_ms)
        if played_ms and played_ms == received_ms:
            # Truncation would only make the item lose its text.
            return None if item.is_complete else played_ms
        agent.truncate(*item.key, played_ms)
        return None

    # -- time ----------------------------------------------------------------

    @property
    def tick(self) -> Callable[[float, int], bool]:
        """
        Called every 20 ms.  C{due} frames have become due since the last call.

        @return: slow ticks will do: the next frames need nothing.
        """
        # A leg that keeps the time fills its gaps itself.
        return self._play_queue.tick if self._gap_seconds == inf else self._tick

    def _tick(self, now: float, due: int) -> bool:
        if due > MAX_MADE_UP:
            # This process stalled: what came meanwhile is not read yet.
            stood = (due - 1) * FRAME_SECONDS
            self._quiet_since = min(now, self._quiet_since + stood)
        may_be_slow = self._play_queue.tick(now, due)
        quiet = now - self._quiet_since
        if self._agent is None or quiet < self._slow_seconds:
            return may_be_slow
        self._fill_gap(self._agent, quiet)
        return False

    def heard_by(self, now: float) -> float:
        """Return when all that was said is heard, or is no longer waited for."""
        return now + self.queued_seconds(now) + self._heard_slack_seconds

    @property
    def is_speaking(self) -> bool:
        """Whether an agent in real time is in the middle of an item."""
        return self._is_at_pace and self._play_queue.is_open

    def rest_seconds(self, now: float) -> float:
        """Return how long to wait at most until all that is being said is heard."""
        more = _MOST_SAID_SECONDS if self._is_at_pace and not self.is_said(now) else 0.0
        return self.queued_seconds(now) + more

    def is_drained(self, now: float) -> bool:
        """Return whether all that the agent said was heard."""
        return not self.is_speaking and self._play_queue.is_drained(now)

    def is_said(self, now: float) -> bool:
        """Whether all was heard, and an agent in real time makes no response."""
        is_made = self._is_at_pace and self._active_responses
        return self.is_drained(now) and not is_made

    def idle_seconds(self, now: float) -> float:
        """Return for how long nothing came from the caller's side."""
        return now - self._heard_caller_at

    def drop(self, reason: str, byte_count: int) -> None:
        """Count audio, in the leg's codec, that is not delivered."""
        self._stats.dropped[reason] += -(-byte_count // self._frame_bytes)
