"""
The agent's voice as files: cut into utterances, stored, and played one after the other
by the SIP media application.

This takes seconds.  The Lambda reports when an utterance began and when it was played
to its end.  Within an utterance, what was heard is estimated from the clock.
"""

from __future__ import annotations

import io
import wave
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import PCMU
from chime_gateway.carriers.call_control import CallGone, SmaControl
from chime_gateway.carriers.kinesis.utterances import UtteranceCutter
from chime_gateway.codec.g711 import decode_mu_law
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.services import AwsCalls

#: When nothing came for this long, the agent has finished for now.
_IDLE_SECONDS: Final = 0.25

#: Without a report, an utterance is assumed to begin and to end this much later than
#: the earliest possible time.
_UNREPORTED_SECONDS: Final = 4.0

#: The maximum number of keys in an update: its arguments are limited in length.
_MOST_KEYS: Final = 8


@define(eq=False)
class _Utterance:
    """
    One file of the agent's speech.

    @ivar start: its position in all that the agent has said, in bytes.
    @ivar end: the end of it.
    @ivar said_at: when the last of it came from the agent.
    @ivar stored: fires when it can be played.
    """

    key: str
    start: int
    end: int
    said_at: float
    stored: Deferred[Any] = field(repr=False)
    sent_at: float | None = None
    began_at: float | None = None

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / PCMU.bytes_per_second


class ReplyUser(Protocol):
    """The leg, as its reply uses it."""

    def mark_reached(self, name: str) -> None: ...
    def audio_dropped(self, reason: str, byte_count: int) -> None: ...
    def reply_failed(self, ending: Ending) -> None:
        """The caller can no longer be reached."""


class Reply:
    """
    The agent's voice in one call.

    @param new_key: returns a key for the next file, which cannot be guessed.
    @param events: returns the URL of the queue for the Lambda's reports; empty: there
        is no queue yet.
    @param observe: called for each utterance, with the seconds from the arrival of its
        last sample, or the end of the utterance before it, until it began.
    """

    _log = Logger()

    def __init__(
        self,
        aws: AwsCalls,
        control: SmaControl,
        clock: IReactorTime,
        user: ReplyUser,
        *,
        transaction_id: str,
        bucket: str,
        events: Callable[[], str],
        new_key: Callable[[], str],
        observe: Callable[[float], None],
    ) -> None:
        self._aws = aws
        self._control = control
        self._clock = clock
        self._user = user
        self._transaction_id = transaction_id
        self._bucket = bucket
        self._events = events
        self._new_key = new_key
        self._observe = observe
        self._cutter = UtteranceCutter()
        self._taken = 0
        self._heard_at = 0.0
        self._cut_at = 0
        self._marks: deque[tuple[int, str]] = deque()
        self._unsent: deque[_Utterance] = deque()
        self._playlist: deque[_Utterance] = deque()
        self._done_at = 0.0
        self._epoch = 1
        self._idle = Timer(clock)
        self._follow_due = Timer(clock)
        self._sending: Deferred[None] | None = None
        self._is_closed = False

    # -- the agent speaks ------------------------------------------------------

    def play(self, audio: bytes) -> None:
        """Play whole frames, as fast as they come."""
        self._taken += len(audio)
        self._heard_at = self._clock.seconds()
        for speech in self._cutter.add(audio):
            self._say(speech)
        if not self._idle.move(_IDLE_SECONDS):
            self._idle.start(_IDLE_SECONDS, self._flush)

    def mark(self, name: str) -> None:
        self._marks.append((self._taken, name))
        if self._is_silent:
            self._reach(self._taken)

    def clear(self) -> None:
        """Fall silent at once, and drop what was not heard."""
        self._drop_all()
        self._marks.clear()
        self._epoch += 1
        arguments = {"Action": "clear", "Epoch": str(self._epoch), **self._address}
        self._background(self._control.update(self._transaction_id, arguments))

    def close(self) -> None:
        """The call is over."""
        self._is_closed = True
        self._drop_all()
        self._marks.clear()

    # -- the Lambda reports ----------------------------------------------------

    def reported(self, what: str, key: str) -> None:
        """
        The Lambda reported on an utterance.

        @param what: C{playing}, C{played}, C{failed} or C{interrupted}.
        """
        known = next((u for u in self._playlist if u.key == key), None)
        if known is None:
            return  # from before an interruption
        # Utterances are played in order, so all before this one are over.
        while self._playlist[0] is not known:
            self._finish()
        now = self._clock.seconds()
        if what == "playing":
            if known.began_at is None:
                known.began_at = now
                # The time in which the one before it was playing does not count.
                self._observe(now - max(known.said_at, self._done_at))
        elif what in ("played", "failed"):
            if what == "failed":
                self._user.audio_dropped("not_played", known.end - known.start)
            self._finish()
        self._follow()

    # -- inside ----------------------------------------------------------------

    @property
    def _address(self) -> dict[str, str]:
        queue = self._events()
        return {"Events": queue} if queue else {}

    @property
    def _is_silent(self) -> bool:
        return not self._playlist and not self._unsent and self._cut_at == self._taken

    def _flush(self) -> None:
        speech = self._cutter.flush()
        if speech:
            self._say(speech)

    def _say(self, speech: bytes) -> None:
        start, self._cut_at = self._cut_at, self._cut_at + len(speech)
        key = self._new_key()
        put = self._aws.call(
            "s3",
            "PutObject",
            {
                "Bucket": self._bucket,
                "Key": key,
                "Body": wav_file(speech),
                "ContentType": "audio/wav",
            },
        )
        stored = Deferred.fromCoroutine(put)
        said_at = self._heard_at
        self._unsent.append(_Utterance(key, start, self._cut_at, said_at, stored))
        if self._sending is None or self._sending.called:
            self._sending = Deferred.fromCoroutine(self._send())
            self._sending.addErrback(self._failed)

    async def _send(self) -> None:
        """Send stored utterances, in order, several per update if the quota is low."""
        while self._unsent:
            if not await self._is_stored(self._unsent[0]):
                continue
            await self._control.turn()
            ready = await self._take_stored()
            arguments = {
                "Action": "play",
                "Bucket": self._bucket,
                "Keys": " ".join(utterance.key for utterance in ready),
                "Epoch": str(self._epoch),
                **self._address,
            }
            now = self._clock.seconds()
            for utterance in ready:
                utterance.sent_at = now
            self._playlist.extend(ready)
            await self._control.update_now(self._transaction_id, arguments)
            self._follow()

    async def _take_stored(self) -> list[_Utterance]:
        """Take the utterances that can be played.  The first one has been checked."""
        ready: list[_Utterance] = []
        while self._unsent and self._unsent[0].stored.called:
            if len(ready) == _MOST_KEYS:
                break
            if await self._is_stored(self._unsent[0]):
                ready.append(self._unsent.popleft())
        return ready

    async def _is_stored(self, utterance: _Utterance) -> bool:
        """Return whether it could be stored.  Otherwise it is skipped."""
        try:
            await utterance.stored
        except AwsError as exc:
            self._unsent.popleft()
            self._log.warn("could not store an utterance: {why}", why=str(exc))
            self._user.audio_dropped("not_stored", utterance.end - utterance.start)
            if self._is_silent:
                self._reach(self._taken)
            return False
        return True

    def _background(self, coroutine: object) -> None:
        doing: Deferred[None] = Deferred.fromCoroutine(coroutine)  # type: ignore[arg-type]
        doing.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) or self._is_closed:
            return
        if failure.check(CallGone):
            ending = Ending(Outcome.COMPLETED, "the caller hung up")
        elif failure.check(AwsError):
            why = failure.getErrorMessage()
            ending = Ending(Outcome.CALLER_LOST, f"cannot play to the caller: {why}")
        else:
            self._log.failure("a reply failed", failure)
            ending = Ending(Outcome.INTERNAL_ERROR, "internal error")
        self._user.reply_failed(ending)

    def _drop_all(self) -> None:
        self._cutter.flush()
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
        for utterance in self._unsent:
            utterance.stored.addErrback(lambda _: None)
            utterance.stored.cancel()
        self._unsent.clear()
        self._playlist.clear()
        self._cut_at = self._taken
        self._idle.stop()
        self._follow_due.stop()

    # -- what is heard ---------------------------------------------------------

    def _finish(self) -> None:
        """The first utterance of the playlist is over."""
        utterance = self._playlist.popleft()
        self._done_at = self._clock.seconds()
        self._reach(self._taken if self._is_silent else utterance.end)

    def _reach(self, position: int) -> None:
        while self._marks and self._marks[0][0] <= position:
            self._user.mark_reached(self._marks.popleft()[1])

    def _follow(self) -> None:
        """Wake up when the next mark is due, or a report is overdue."""
        self._follow_due.stop()
        if not self._playlist:
            return
        now = self._clock.seconds()
        head = self._playlist[0]
        if head.began_at is None:
            sent_at = head.sent_at if head.sent_at is not None else now
            due = max(sent_at, self._done_at) + _UNREPORTED_SECONDS
            if now >= due:
                head.began_at = now
        if head.began_at is not None:
            played = int((now - head.began_at) * PCMU.bytes_per_second + 0.5)
            # Its last mark waits for the report, which may come later than the clock.
            self._reach(min(head.start + played, head.end - 1))
            due = head.began_at + head.seconds + _UNREPORTED_SECONDS
            if now >= due:
                self._finish()
                self._follow()
                return
            if self._marks and self._marks[0][0] < head.end:
                ahead = self._marks[0][0] - head.start
                due = head.began_at + ahead / PCMU.bytes_per_second
        self._follow_due.start(max(0.001, due - now), self._follow)


def wav_file(speech: bytes) -> bytes:
    """
    Return a file that the application can play: 16-bit PCM, 8 kHz, mono (Developer
    Guide, "PlayAudio").
    """
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(decode_mu_law(speech).astype("<i2").tobytes())
    return content.getvalue()
