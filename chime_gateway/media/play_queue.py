"""
Queues what the agent has said and the caller has not heard yet.

A leg with a playout buffer gets everything at once, with marks that show the progress
of playback.  A paced leg gets a frame each time one is due.  Either way every byte
belongs to an item, and its place in the stream says when it is heard.  Audio that was
delayed and is not ahead of its listener does not make the rest of the call late.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from chime_gateway.audio import PTIME_MS
from chime_gateway.interfaces import CallLeg
from chime_gateway.media.frame_queue import FrameQueue
from chime_gateway.media.item_ledger import Cut, Item, ItemKey, Ledger
from chime_gateway.media.metronome import MAX_MADE_UP
from chime_gateway.media.pace import Pace
from chime_gateway.media.playout_clock import Playout
from chime_gateway.media.recorder import Recorder
from chime_gateway.media.stats import MediaStats

#: A mark is sent at least this often, to follow the carrier's clock.
MARK_SECONDS: Final = 1.0

FRAME_SECONDS: Final = PTIME_MS / 1000


class PlayQueue:
    """
    The agent's audio on its way to one leg, in the leg's codec.

    @param max_seconds: the most audio that may wait to be heard.  More is dropped.
    @param observe_turn: called with the seconds from the end of the caller's turn to
        the first audio of the answer.
    @param observe_began: called with the id of an item and the time at which it begins
        to be heard.
    @param observe_heard: called when an item was heard to its end or cut, with its id,
        the ms of it that were heard, its ms in all, and whether it was cut.
    @param want_beat: called when L{tick} has to come every 20 ms from now on.
    @ivar recorder: records what is played, if set.
    @ivar turn_ended_at: when the turn ended that the caller awaits an answer to.
    @ivar current: the item that is being said.
    """

    __slots__ = (
        *(
            "_byte_seconds",
            "_codec",
            "_frame_bytes",
            "_is_paced",
            "_late",
            "_ledger",
            "_leg",
            "_local_count",
        ),
        *("_mark_bytes", "_mark_count", "_marked_at", "_max_seconds"),
        *("_observe_began", "_observe_heard", "_observe_turn", "_pace", "_partial"),
        *("_playout", "_queue", "_ran_dry", "_stats", "_waiting", "_want_beat"),
        *("_wants_marks", "current", "mark_reached", "recorder", "turn_ended_at"),
    )

    def __init__(
        self,
        leg: CallLeg,
        stats: MediaStats,
        *,
        max_seconds: float,
        observe_turn: Callable[[float], None],
        observe_began: Callable[[str, float], None],
        observe_heard: Callable[[str, int, int, bool], None],
        want_beat: Callable[[], None],
    ) -> None:
        self.recorder: Recorder | None = None
        self.turn_ended_at: float | None = None
        self._leg = leg
        self._stats = stats
        self._observe_turn = observe_turn
        self._observe_began = observe_began
        self._observe_heard = observe_heard
        self._want_beat = want_beat
        self._codec = leg.codec
        self._frame_bytes = leg.codec.frame_bytes
        self._max_seconds = max_seconds
        traits = leg.traits
        self._is_paced = traits.is_paced
        self._wants_marks = traits.buffers and traits.reports_playback
        self._playout = Playout(leg.codec.bytes_per_second, traits.lag_seconds)
        self.mark_reached = self._playout.mark_reached
        seconds = MARK_SECONDS if self._wants_marks else inf
        self._mark_bytes = seconds * leg.codec.bytes_per_second
        self._marked_at = self._mark_count = self._local_count = 0
        self._ledger = Ledger()
        self._pace = Pace()
        self._byte_seconds = 1 / leg.codec.bytes_per_second
        self._queue = FrameQueue(leg.codec, self._pace)
        self._waiting = self._queue.frames
        self._late = self._queue.late
        self._partial = b""
        self.current: Item | None = None
        self._ran_dry = False

    # -- items ---------------------------------------------------------------

    def item(self, response_id: str, key: ItemKey, now: float) -> Item:
        """Return the item with this key, and make it the current one."""
        if self.current is not None and self.current.key == key:
            return self.current
        self._pad_partial(now)
        self._report_heard(self._playout.head(now))
        self.current = self._ledger.item(response_id, key)
        if not self.current.spans:
            waits = len(self._waiting) * FRAME_SECONDS
            self._observe_began(key[0], max(now, self._playout.dry_at) + waits)
        return self.current

    def add(self, item: Item, audio: bytes, now: float) -> None:
        """Add more audio of an item, of any length."""
        self._pace.came(len(audio) * self._byte_seconds, now)
        if self._partial:
            audio, self._partial = self._partial + audio, b""
        rest = len(audio) % self._frame_bytes
        if rest:
            whole = len(audio) - rest
            audio, self._partial = audio[:whole], audio[whole:]
        if audio:
            self._enqueue(item, audio, now)

    def add_local(self, audio: bytes, now: float) -> None:
        """Add a sound of the gateway, after all audio that is queued."""
        self._local_count += 1
        item = Item(("", -self._local_count), "", is_local=True, is_complete=True)
        self._ledger.add(item)
        self._pad_partial(now)
        missing = -len(audio) % self._frame_bytes
        self._enqueue(item, audio + self._codec.silence(missing), now)

    def response_done(self, response_id: str, now: float) -> None:
        """No more will come of any item of this response."""
        for item in self._ledger.of_response(response_id):
            self._complete(item, now)

    def item_done(self, item_id: str, now: float) -> None:
        """No more will come of this item."""
        for item in self._ledger.find(item_id):
            self._complete(item, now)

    def session_ended(self, now: float) -> None:
        """No more will come of any item, and the agent gets no more reports."""
        for item in self._ledger.end_session():
            self._complete(item, now)

    def _complete(self, item: Item, now: float) -> None:
        if item.is_complete:
            return
        item.is_complete = True
        if item is self.current:
            self._pad_partial(now)
            self.current = None
            if self._wants_marks and self._playout.sent > self._marked_at:
                self._mark()

    def _pad_partial(self, now: float) -> None:
        """Fill an item's last frame: a part of a frame would be heard as a click."""
        if self._partial and self.current is not None:
            missing = self._frame_bytes - len(self._partial)
            frame = self._partial + self._codec.silence(missing)
            self._partial = b""
            if self._enqueue(self.current, frame, now):
                self.current.padding += missing

    # -- to the leg ------------------------------------------------------------

    def _enqueue(self, item: Item, audio: bytes, now: float) -> bool:
        """
        Add whole frames, to be heard after all that is queued already.

        @return: C{False}: the queue is full, and they were dropped.
        """
        playout, waiting = self._playout, self._waiting
        start, ahead = playout.sent, playout.dry_at - now
        waits = ahead if ahead > 0 else 0
        if waiting:
            start += len(waiting) * self._frame_bytes
            waits += len(waiting) * FRAME_SECONDS
        if waits > self._max_seconds:
            self._stats.dropped["play_queue_full"] += len(audio) // self._frame_bytes
            return False
        spans, end = item.spans, start + len(audio)
        if spans and spans[-1][1] == start:
            spans[-1][1] = end  # the usual case: right after its last piece
        else:
            item.add_span(start, end)
        if self._is_paced or waiting:
            self._queue.add(audio)
            return True
        is_usual = not self._late.behind and now <= playout.soonest_dry_at
        if not is_usual and self._is_behind(item, now):
            self._late.begin()
            self._queue.add(audio)
            self._want_beat()
            return True
        # A leg with a playout buffer gets all at once, with marks.
        if ahead <= 0:
            audio = self._begin(item, audio, now)
        if audio:
            self._play(audio, now)
            if playout.sent - self._marked_at >= self._mark_bytes:
                self._mark()
        return True

    def _is_behind(self, item: Item, now: float) -> bool:
        """Return whether new audio for a leg with a buffer may be late as a whole."""
        playout = self._playout
        ahead = playout.soonest_dry_at - now
        is_within = ahead < 0 and item.spans[0][0] < playout.sent
        return self._late.is_behind(ahead, playout.dry_frames(now) if is_within else 0)

    def _begin(self, item: Item, audio: bytes, now: float) -> bytes:
        """
        The playout buffer of the leg is empty: it plays from now on.

        @return: the audio that is still to be handed over.
        """
        playout = self._playout
        is_new = item.spans[0][0] == playout.sent
        if not is_new:
            self._stats.underruns += 1
        if self._wants_marks and (
            is_new or playout.sent - self._marked_at >= self._mark_bytes
        ):
            # The mark after the first frame shows when playback began.
            first = self._frame_bytes
            self._play(audio[:first], now)
            self._mark()
            return audio[first:]
        return audio

    def _play(self, audio: bytes, now: float) -> None:
        self._leg.play(audio)
        if self.recorder is not None:
            self.recorder.agent(audio, max(now, self._playout.dry_at))
        self._playout.play(len(audio), now)
        self._stats.frames_out += len(audio) // self._frame_bytes
        if self.turn_ended_at is not None:
            latency = now - self.turn_ended_at
            self.turn_ended_at = None
            self._stats.turn_latencies.append(latency)
            self._observe_turn(latency)

    def _mark(self) -> None:
        self._mark_count += 1
        name = f"m{self._mark_count}"
        self._marked_at = self._playout.sent
        self._playout.mark_sent(name)
        self._leg.mark(name)

    def tick(self, now: float, due: int) -> bool:
        """See L{MediaPump.tick}."""
        pace = self._pace
        if due > 1:
            pace.late_beat(now)
        pace.beat_at = now
        waiting = self._waiting
        if waiting:
            self._ran_dry = False
            if not self._is_paced:
                self._feed_late(now, due)
            elif due > 1 or self._late.behind:
                self._play_late(now, due)
            else:
                self._play(waiting.popleft(), now)
        elif self.current is not None:
            if self._is_paced:
                if not self._ran_dry:
                    self._ran_dry = True
                    self._stats.underruns += 1
                self._late.ran_dry(due)
        elif self._late.behind:
            self._late.settle()
        return not (self._is_paced or waiting or self._late.is_far_behind)

    def _play_late(self, now: float, due: int) -> None:
        """Play when more than one frame is due, or the queue is behind."""
        waiting = self._waiting
        # After a stall the listener's buffer is empty: nothing bridges a late beat, and
        # frames that are made up would be late.  This ends when the queue has decided.
        is_bridged = not self._late.behind or self._queue.is_decided
        count = due if due <= MAX_MADE_UP and is_bridged else 1
        stood = due - min(count, len(waiting))
        if stood:
            self._late.stalled(stood)
        if self._late.behind:
            self._shorten(count, due, is_read=not stood)
        for made_up in range(min(count, len(waiting)) - 1, -1, -1):
            # Each frame counts as heard when it was due.
            self._play(waiting.popleft(), now - made_up * FRAME_SECONDS)

    def _feed_late(self, now: float, due: int) -> None:
        """Feed audio that may be late to a leg with a buffer, in real time."""
        playout, queue, waiting = self._playout, self._queue, self._waiting
        stood = playout.dry_frames(now)
        if stood:
            self._late.stalled(stood)
        if self._late.behind:
            has = max(0, int((playout.soonest_dry_at - now) / FRAME_SECONDS))
            self._shorten(-has, due, is_read=not stood)
        while waiting and playout.soonest_dry_at - now < FRAME_SECONDS:
            self._play(waiting.popleft(), now)
        is_ahead = self._late.is_ahead and self.current is None
        if waiting and (is_ahead or not self._late.behind):
            # Not late: all at once, as usual.  An agent that falls silent within an
            # item may be delayed, so its audio stays here.
            self._play(b"".join(waiting), now)
            queue.clear()
        if playout.sent - self._marked_at >= self._mark_bytes:
            self._mark()

    def _shorten(self, taken: int, due: int, *, is_read: bool) -> None:
        """Remove late frames before C{taken} frames are taken."""
        skipped = self._queue.shorten(taken, due, is_read=is_read)
        if skipped:
            self._playout.skip(skipped * self._frame_bytes)
            self._stats.dropped["overdue"] += skipped

    # -- what was heard --------------------------------------------------------

    def cut(self, now: float) -> list[Cut]:
        """
        Interrupt: silence the leg at once and forget what was not heard.

        @return: every item that was not heard to its end, in order.
        """
        self.turn_ended_at = None
        waiting = len(self._waiting) + bool(self._partial)
        head = self._playout.head(now)
        unheard = (self._playout.sent - head) // self._frame_bytes + waiting
        if unheard or not self._playout.is_idle(now):
            self._leg.clear()
        self._queue.clear()
        self._partial = b""
        self.current = None
        if self.recorder is not None:
            self.recorder.cut(self._playout.sent - head)
        self._playout.clear(now)
        self._marked_at = self._playout.sent
        # An item that was heard to its end just now is not cut, but is still reported.
        self._report_heard(head)
        cuts = self._ledger.cut(head)
        if unheard:
            self._stats.dropped["barge_in"] += unheard
        return cuts

    def report_cut(self, cut: Cut) -> None:
        """Report an item that was not heard to its end."""
        self._report(cut.item, cut.heard_bytes, is_cut=True)

    def stop(self, now: float) -> None:
        """The call is over: nothing more is played."""
        self._queue.clear()
        self.current = None
        head = self._playout.head(now)
        self._report_heard(head)
        if self.recorder is not None:
            self.recorder.cut(self._playout.sent - head)
        for cut in self._ledger.cut(head):
            self.report_cut(cut)

    def report_heard(self, now: float) -> None:
        """Report the items that were heard to their end since the last call."""
        self._report_heard(self._playout.head(now))

    def _report_heard(self, head: int) -> None:
        for item in self._ledger.take_heard(head):
            self._report(item, item.owed, is_cut=False)

    def _report(self, item: Item, heard_bytes: int, *, is_cut: bool) -> None:
        if not item.is_local:
            spoken = item.spoken
            heard_ms = self._codec.duration_ms(min(heard_bytes, spoken))
            spoken_ms = self._codec.duration_ms(spoken)
            self._observe_heard(item.key[0], heard_ms, spoken_ms, is_cut)

    def queued_seconds(self, now: float) -> float:
        """Return how much audio is not heard yet."""
        sent = self._playout.sent - self._playout.head(now)
        owed = sent + len(self._waiting) * self._frame_bytes
        return owed / self._codec.bytes_per_second

    @property
    def is_open(self) -> bool:
        """Whether the agent is in the middle of an item."""
        return self.current is not None and not self.current.is_local

    def is_drained(self, now: float) -> bool:
        """Return whether all audio was heard."""
        return not self._waiting and self._playout.is_idle(now)
