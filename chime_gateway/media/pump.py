"""
The pump between a caller's leg and an agent's session.

Caller to agent: at once, transcoded where the codecs differ, with silence put
in where the caller's side sends none, because the model's VAD lives on it.

Agent to caller: the agent speaks faster than real time.  The pump owns what is
not played yet, knows which item every byte belongs to, and on an interruption
flushes the leg and says of each item how much was heard.

It does not know what carries the audio, nor why a call starts or ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

from chime_gateway.codec.registry import transcoder
from chime_gateway.codec.tone import tone
from chime_gateway.frames import PTIME_MS
from chime_gateway.interfaces import AgentSession, CallLeg
from chime_gateway.media.bargein import Item, ItemKey, Ledger
from chime_gateway.media.playout import Playout
from chime_gateway.media.recorder import Recorder
from chime_gateway.media.stats import MediaStats

#: A caller's side that is silent for longer than this sends no silence of its
#: own (DTX, mute, a stalled link): it is filled.  Longer than a TCP
#: retransmission, so that a hiccup does not put holes into words.
GAP_SECONDS: Final = 0.2

#: What the caller says while the agent's session is being opened, at most.
EARLY_SECONDS: Final = 2.0

#: A mark is asked for at least this often, to follow the carrier's clock.
MARK_SECONDS: Final = 1.0

#: Late audio of this many interrupted items and responses is recognised.
_REMEMBERED_CUTS: Final = 64

#: The sound of waiting: short, and 20 dB below speech.
_TONE_HZ: Final = 425.0
_TONE_SECONDS: Final = 0.3
_TONE_AMPLITUDE: Final = 800

_FRAME_SECONDS: Final = PTIME_MS / 1000

_K = TypeVar("_K")


def _remember(cuts: dict[_K, None], key: _K) -> None:
    cuts[key] = None
    if len(cuts) > _REMEMBERED_CUTS:
        del cuts[next(iter(cuts))]


class MediaPump:
    """
    @param clock: seconds, monotonic.
    @param keep_early: whether what the caller says before the agent is ready is
        kept for it (up to L{EARLY_SECONDS}).
    @param max_queue_seconds: agent's audio waiting to be heard; more is dropped.
    @param observe_turn: told the seconds from the end of the caller's turn to
        the first audio of the answer.
    @param observe_bridge: told, about once a second, how long a piece of audio
        took from its arrival here until it was handed on.
    @param observe_began: told the id of an item and when it begins to be heard.
    @param observe_heard: told the id of an item that was heard to its end or cut,
        how many ms of it were heard, of how many, and whether it was cut.
    @ivar recorder: records both sides, while there is one.
    """

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
    ) -> None:
        self.recorder: Recorder | None = None
        self._leg = leg
        self._stats = stats
        self._clock = clock
        self._observe_turn = observe_turn
        self._observe_bridge = observe_bridge
        self._observe_began = observe_began
        self._observe_heard = observe_heard
        self._codec = leg.codec
        self._frame_bytes = leg.codec.frame_bytes
        self._max_queue_seconds = max_queue_seconds

        self._agent: AgentSession | None = None
        self._is_closed = False
        self._is_muted = False
        self._to_agent: Callable[[bytes], bytes] | None = None
        self._to_leg: Callable[[bytes], bytes] | None = None
        self._early: deque[bytes] | None = deque() if keep_early else None
        self._early_bytes = 0

        traits = leg.traits
        self._is_paced = traits.is_paced
        self._wants_marks = traits.buffers and traits.reports_playback
        self._playout = Playout(leg.codec.bytes_per_second, traits.lag_seconds)
        self._gap_seconds = GAP_SECONDS + traits.lag_seconds
        self._mark_bytes = int(MARK_SECONDS * leg.codec.bytes_per_second)
        self._marked_at = 0
        self._mark_count = 0
        self._ledger = Ledger()
        self._queue: deque[bytes] = deque()
        self._partial = b""
        self._current: Item | None = None
        self._active_responses: set[str] = set()
        self._cut_items: dict[ItemKey, None] = {}
        self._cut_responses: dict[str, None] = {}
        self._ran_dry = False
        self._local_count = 0
        self._tone: bytes | None = None

        self._heard_caller_at = clock()
        self._filled = 0
        self._turn_ended_at: float | None = None
        self._probe_at = 0.0

    # -- life ----------------------------------------------------------------

    def join(self, agent: AgentSession) -> None:
        """
        An agent's session is ready: join both sides.

        It may be the next one of this call.  What the one before has said is still
        owed to the caller, and nobody is told any more how much of it was heard.
        """
        if self._agent is None:
            self._heard_caller_at = self._clock()
        self._part_with_agent()
        codec = agent.traits.codec
        self._to_agent = transcoder(self._codec, codec)
        self._to_leg = transcoder(codec, self._codec)
        self._agent = agent
        early, self._early = self._early, None
        for audio in early or ():
            self._send(agent, audio)

    def detach_agent(self) -> None:
        """The agent is gone; what it said is still owed to the caller."""
        self._part_with_agent()
        self._early = None

    def _part_with_agent(self) -> None:
        self._agent = None
        for item in self._ledger.end_session():
            self._complete(item)
        self._active_responses.clear()

    def stop(self) -> None:
        """Nothing is played, sent or reported any more."""
        self._agent = None
        self._early = None
        self._is_closed = True
        self._queue.clear()
        now = self._clock()
        head = self._playout.head(now)
        self._report_heard(head)
        if self.recorder is not None:
            self.recorder.cut(self._playout.sent - head)
        for cut in self._ledger.cut(head):
            self._report(cut.item, cut.heard_bytes, is_cut=True)

    # -- caller to agent -----------------------------------------------------

    def caller_audio(self, audio: bytes) -> None:
        """Any length, in the leg's codec."""
        now = self._heard_caller_at = self._clock()
        self._filled = 0
        self._stats.frames_in += len(audio) / self._frame_bytes
        if self.recorder is not None:
            self.recorder.caller(audio, now)
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

    def _fill_gap(self, now: float) -> None:
        gap = now - self._heard_caller_at
        if gap < self._gap_seconds or self._agent is None:
            return
        missing = int(gap / _FRAME_SECONDS + 1e-6) - self._filled
        if missing > 0:
            self._filled += missing
            self._stats.frames_filled += missing
            self._send(self._agent, self._codec.silence(missing * self._frame_bytes))

    # -- agent to caller -----------------------------------------------------

    def response_started(self, response_id: str) -> None:
        self._active_responses.add(response_id)

    def response_done(self, response_id: str) -> None:
        """No more audio will come for any item of this response."""
        self._active_responses.discard(response_id)
        for item in self._ledger.of_response(response_id):
            self._complete(item)

    def agent_audio_done(self, item_id: str) -> None:
        """No more audio will come for this item."""
        for item in self._ledger.find(item_id):
            self._complete(item)

    def agent_audio(
        self, response_id: str, item_id: str, content_index: int, audio: bytes
    ) -> None:
        """Any length, in the agent's codec; an item need not be announced."""
        if self._agent is None:
            self.drop("call_ending", len(audio))
            return
        now = self._clock()
        key = (item_id, content_index)
        if key in self._cut_items or response_id in self._cut_responses:
            self._stats.dropped["stale"] += self._agent_frames(audio)
            return
        item = self._current
        if item is None or item.key != key:
            item = self._next_item(response_id, key, now)
        item.received_bytes += len(audio)
        if self._to_leg is not None:
            audio = self._to_leg(audio)
        if self._partial:
            audio = self._partial + audio
        whole = len(audio) - len(audio) % self._frame_bytes
        self._partial = audio[whole:]
        if whole:
            self._owe(item, audio[:whole] if self._partial else audio, now)
        if now >= self._probe_at:
            self._probe_at = now + 1.0
            self._observe_bridge(self._clock() - now)

    def _agent_frames(self, audio: bytes) -> int:
        codec = self._codec if self._agent is None else self._agent.traits.codec
        return -(-len(audio) // codec.frame_bytes)

    def _next_item(self, response_id: str, key: ItemKey, now: float) -> Item:
        self._pad_partial(now)
        self._report_heard(self._playout.head(now))
        self._current = self._ledger.item(response_id, key)
        if not self._current.spans:
            waits = len(self._queue) * _FRAME_SECONDS
            self._observe_began(key[0], max(now, self._playout.dry_at) + waits)
        return self._current

    def play_local(self, audio: bytes) -> None:
        """
        A sound of the gateway's own, in the leg's codec, behind all that is owed.
        An interruption cuts it as well.
        """
        now = self._clock()
        self._local_count += 1
        item = Item(("", -self._local_count), "", is_local=True, is_complete=True)
        self._ledger.add(item)
        self._pad_partial(now)
        missing = -len(audio) % self._frame_bytes
        self._owe(item, audio + self._codec.silence(missing), now)

    def play_tone(self) -> None:
        """A soft sound that says: the line is alive."""
        if self._tone is None:
            self._tone = tone(self._codec, _TONE_HZ, _TONE_SECONDS, _TONE_AMPLITUDE)
        self.play_local(self._tone)

    def report_heard(self, now: float) -> None:
        """Tell of items that were heard to their end since the last time."""
        self._report_heard(self._playout.head(now))

    def _report_heard(self, head: int) -> None:
        for item in self._ledger.take_heard(head):
            self._report(item, item.owed, is_cut=False)

    def _report(self, item: Item, heard_bytes: int, *, is_cut: bool) -> None:
        if not item.is_local:
            heard_ms = self._codec.duration_ms(heard_bytes)
            owed_ms = self._codec.duration_ms(item.owed)
            self._observe_heard(item.key[0], heard_ms, owed_ms, is_cut)

    def _complete(self, item: Item) -> None:
        if item.is_complete:
            return
        item.is_complete = True
        if item is self._current:
            now = self._clock()
            self._pad_partial(now)
            self._current = None
            if self._wants_marks and self._playout.sent > self._marked_at:
                self._mark()

    def _pad_partial(self, now: float) -> None:
        """An item ends in whole frames: a part of one is heard as a click."""
        if self._partial and self._current is not None:
            missing = self._frame_bytes - len(self._partial)
            frame = self._partial + self._codec.silence(missing)
            self._partial = b""
            self._owe(self._current, frame, now)

    def _owe(self, item: Item, audio: bytes, now: float) -> None:
        """Whole frames, to be heard behind all that is owed already."""
        playout = self._playout
        size = self._frame_bytes
        start = playout.sent + len(self._queue) * size
        waits = max(0.0, playout.dry_at - now) + len(self._queue) * _FRAME_SECONDS
        if waits > self._max_queue_seconds:
            self.drop("play_queue_full", len(audio))
            return
        item.own(start, start + len(audio))
        if self._is_paced:
            self._queue.extend(
                audio[at : at + size] for at in range(0, len(audio), size)
            )
        else:
            self._hand_over(item, audio, now)

    def _hand_over(self, item: Item, audio: bytes, now: float) -> None:
        """To a leg with a playout buffer: all at once, followed by marks if it has."""
        playout = self._playout
        if now >= playout.dry_at:
            is_new = item.spans[0][0] == playout.sent
            if not is_new:
                self._stats.underruns += 1
            if self._wants_marks and (
                is_new or playout.sent - self._marked_at >= self._mark_bytes
            ):
                # The mark behind the first frame tells when playing began.
                first = self._frame_bytes
                self._play(audio[:first], now)
                self._mark()
                audio = audio[first:]
                if not audio:
                    return
        self._play(audio, now)
        if self._wants_marks and playout.sent - self._marked_at >= self._mark_bytes:
            self._mark()

    def _play(self, audio: bytes, now: float) -> None:
        self._leg.play(audio)
        if self.recorder is not None:
            self.recorder.agent(audio, max(now, self._playout.dry_at))
        self._playout.play(len(audio), now)
        self._stats.frames_out += len(audio) // self._frame_bytes
        if self._turn_ended_at is not None:
            latency = now - self._turn_ended_at
            self._turn_ended_at = None
            self._stats.turn_latencies.append(latency)
            self._observe_turn(latency)

    def _mark(self) -> None:
        self._mark_count += 1
        name = f"m{self._mark_count}"
        self._marked_at = self._playout.sent
        self._playout.mark_sent(name)
        self._leg.mark(name)

    def mark_reached(self, name: str) -> None:
        """The carrier returned a mark; what it means depends on its age."""
        self._playout.mark_reached(name, self._clock())

    # -- turns ---------------------------------------------------------------

    def turn_ended(self) -> None:
        """The caller stopped speaking: the answer is measured from here."""
        self._turn_ended_at = self._clock()

    def interrupt(self) -> bool:
        """
        The caller speaks: silence the agent at once and tell it, item by item,
        how much was heard.

        @return: whether anything was cut.
        """
        now = self._clock()
        self._turn_ended_at = None
        for response_id in self._active_responses:
            if response_id:
                _remember(self._cut_responses, response_id)
        self._active_responses.clear()
        unplayed = len(self._queue) + bool(self._partial)
        head = self._playout.head(now)
        unheard = (self._playout.sent - head) // self._frame_bytes + unplayed
        if unheard or not self._playout.is_idle(now):
            self._leg.clear()
        self._queue.clear()
        self._partial = b""
        self._current = None
        if self.recorder is not None:
            self.recorder.cut(self._playout.sent - head)
        self._playout.clear(now)
        self._marked_at = self._playout.sent
        cuts = self._ledger.cut(head)
        for cut in cuts:
            item = cut.item
            if item.is_local:
                continue
            _remember(self._cut_items, item.key)
            self._report(item, cut.heard_bytes, is_cut=True)
            self._truncate(item, cut.heard_bytes)
        if unheard:
            self._stats.dropped["barge_in"] += unheard
        if any(not cut.item.is_local for cut in cuts):
            self._stats.barge_ins += 1
        return bool(cuts)

    def _truncate(self, item: Item, heard_bytes: int) -> None:
        agent = self._agent
        if agent is None or item.is_of_past_session or agent.traits.cuts_itself:
            return
        played_ms = min(
            self._codec.duration_ms(heard_bytes),
            agent.traits.codec.duration_ms(item.received_bytes),
        )
        agent.truncate(item.key[0], item.key[1], played_ms)

    # -- time ----------------------------------------------------------------

    def tick(self, now: float, due: int) -> None:
        """Every 20 ms; C{due} frames have become due since the last time."""
        if self._is_closed:
            return
        if self._queue:
            self._ran_dry = False
            for _ in range(min(due, len(self._queue))):
                self._play(self._queue.popleft(), now)
        elif self._is_paced and self._current is not None and not self._ran_dry:
            self._ran_dry = True
            self._stats.underruns += 1
        self._fill_gap(now)

    def queued_seconds(self, now: float) -> float:
        """The agent's audio that is not heard yet."""
        sent = self._playout.sent - self._playout.head(now)
        owed = sent + len(self._queue) * self._frame_bytes
        return owed / self._codec.bytes_per_second

    def is_drained(self, now: float) -> bool:
        """All that the agent said was heard."""
        return not self._queue and self._playout.is_idle(now)

    def idle_seconds(self, now: float) -> float:
        """How long nothing came from the caller's side."""
        return now - self._heard_caller_at

    def drop(self, reason: str, byte_count: int) -> None:
        """Count audio in the leg's codec that is not delivered."""
        self._stats.dropped[reason] += -(-byte_count // self._frame_bytes)
