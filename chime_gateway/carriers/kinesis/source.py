"""
Reads a caller's audio from a Kinesis video stream.

It makes long C{GetMedia} requests, each from where the last one ended, until the call
is over or the stream carries another call.

Amazon Kinesis Video Streams Developer Guide, "GetMedia".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chime_gateway.audio import PCMU
from chime_gateway.codec.g711 import encode_mu_law
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.net.aws.errors import AwsError
from chime_gateway.net.backoff import BackOff
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import Ending, Outcome
from chime_gateway.services import AwsCalls
from chime_gateway.wire.kinesis.matroska import Block, MatroskaReader, Tag, Track

#: C{GetMedia} ends without notice after 40 to 45 minutes.
RENEW_SECONDS: Final = 38 * 60.0

#: Audio comes all the time, even if it is silent.  Without any for this long, the
#: request is repeated.
STALL_SECONDS: Final = 6.0

#: A stream that brings nothing new is given up after this many attempts.
MAX_ATTEMPTS: Final = 3
_BACK_OFF: Final = BackOff((0.5, 1.0))

_ERROR: Final = "AWS_KINESISVIDEO_ERROR_CODE"
_TOKEN: Final = "AWS_KINESISVIDEO_CONTINUATION_TOKEN"
_FRAGMENT: Final = "AWS_KINESISVIDEO_FRAGMENT_NUMBER"


class StreamingAws(AwsCalls, Protocol):
    async def stream(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, object],
        receiver: TwistedProtocol,
        *,
        endpoint: str = ...,
        seconds: float = ...,
    ) -> Mapping[str, str]: ...


class SourceUser(Protocol):
    """The receiver of the caller's audio."""

    def caller_audio(self, audio: bytes) -> None:
        """Receive whole 20 ms frames of G.711."""

    def source_oddity(self, kind: str) -> None: ...
    def source_ended(self, ending: Ending) -> None: ...


class KinesisSource:
    """
    The audio of one caller.

    @param after_fragment: the fragment to begin after; empty: begin with new audio.
    @param owner: the tags of fragments that belong to this call.
    """

    _log = Logger()

    def __init__(
        self,
        aws: StreamingAws,
        clock: IReactorTime,
        user: SourceUser,
        *,
        stream_arn: str,
        after_fragment: str,
        owner: Mapping[str, str],
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._user = user
        self._stream_arn = stream_arn
        self._after_fragment = after_fragment
        self._owner = owner
        self._token = ""
        self._last_fragment = -1
        self._attempts = 0
        self._rest = b""
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._stopped)

    def stop(self) -> None:
        """Stop without a report."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    def _stopped(self, failure: Failure) -> None:
        if self._running is None and failure.check(CancelledError):
            return
        self._running = None
        self._log.failure("reading a stream failed", failure)
        ending = Ending(Outcome.INTERNAL_ERROR, "internal error")
        self._user.source_ended(ending)

    async def _run(self) -> None:
        while True:
            why = await self._read()
            if isinstance(why, Ending):
                break
            self._user.source_oddity(why)
            if why == "stream_renewed":
                continue
            self._attempts += 1
            if self._attempts >= MAX_ATTEMPTS:
                text = f"no more audio from the caller's stream ({why})"
                why = Ending(Outcome.CALLER_LOST, text)
                break
            await deferLater(self._clock, _BACK_OFF.pause(self._attempts))
        self._running = None
        self._user.source_ended(why)

    async def _read(self) -> str | Ending:
        """Make one C{GetMedia}.  Return why to make another, or how the leg ends."""
        body = _Body(self, self._clock)
        try:
            endpoint = await self._aws.call(
                "kinesisvideo",
                "GetDataEndpoint",
                {"StreamARN": self._stream_arn, "APIName": "GET_MEDIA"},
            )
            await self._aws.stream(
                "kinesis-video-media",
                "GetMedia",
                {"StreamARN": self._stream_arn, "StartSelector": self._selector()},
                body,
                endpoint=endpoint["DataEndpoint"],
            )
        except AwsError as exc:
            if exc.is_denied or exc.is_expired:
                return Ending(Outcome.CALLER_LOST, str(exc))
            if exc.code.startswith("ResourceNotFound"):
                return Ending(Outcome.CALLER_LOST, "the caller's stream is gone")
            self._log.warn("could not open a stream: {why}", why=str(exc))
            return "stream_refused"
        try:
            return await body.done
        finally:
            body.close()

    def _selector(self) -> dict[str, str]:
        if self._token:
            return {
                "StartSelectorType": "CONTINUATION_TOKEN",
                "ContinuationToken": self._token,
            }
        if self._after_fragment:
            return {
                "StartSelectorType": "FRAGMENT_NUMBER",
                "AfterFragmentNumber": self._after_fragment,
            }
        return {"StartSelectorType": "NOW"}

    # -- called by a body --------------------------------------------------------

    def is_next(self, fragment: str) -> bool:
        """Return whether a fragment is new.  A resumed stream may repeat the last."""
        number = int(fragment) if fragment.isdecimal() else self._last_fragment + 1
        if number <= self._last_fragment:
            return False
        self._last_fragment = number
        return True

    def owner_of(self, tag: Tag) -> bool | None:
        """Return whether the tag names this call; C{None}: it is another kind."""
        wanted = self._owner.get(tag.name)
        return None if not wanted else tag.value == wanted

    def resumes_at(self, token: str) -> None:
        self._token = token

    def heard(self, samples: bytes, is_big_endian: bool) -> None:
        """Take 16-bit samples.  They come in 64 ms, 3.2 frames, so a rest is kept."""
        self._attempts = 0
        samples = self._rest + samples
        whole = len(samples) - len(samples) % (PCMU.frame_bytes * 2)
        self._rest = samples[whole:]
        if whole:
            kind = ">i2" if is_big_endian else "<i2"
            numbers = np.frombuffer(samples[:whole], kind).astype(np.int16)
            self._user.caller_audio(encode_mu_law(numbers))

    def has_track(self, track: Track) -> None:
        self._log.debug("a stream of {track}", track=str(track))


class _Body(TwistedProtocol):
    """
    The response body of one C{GetMedia}.

    @ivar done: fires with the reason for another request, or the L{Ending} of the leg.
    """

    def __init__(self, source: KinesisSource, clock: IReactorTime) -> None:
        self._source = source
        self._clock = clock
        self._reader = MatroskaReader()
        self._renew_at = clock.seconds() + RENEW_SECONDS
        self._heard_at = clock.seconds()
        self._watch = Timer(clock)
        self._watch.start(STALL_SECONDS, self._look)
        self._is_ours = False
        self._is_new = True
        self._is_big_endian = False
        self.done: Deferred[str | Ending] = Deferred(lambda _: self.close())

    def dataReceived(self, data: bytes) -> None:
        self._heard_at = self._clock.seconds()
        try:
            events = self._reader.feed(data)
        except RemoteProtocolError as exc:
            self._finish(Ending(Outcome.CALLER_PROTOCOL_ERROR, f"its stream: {exc}"))
            return
        for event in events:
            if self.done.called:
                return
            if isinstance(event, Block):
                if self._is_ours and self._is_new:
                    self._source.heard(event.payload, self._is_big_endian)
            elif isinstance(event, Tag):
                self._tag(event)
            else:
                self._is_big_endian = event.codec.endswith("/BIG")
                self._source.has_track(event)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._finish("stream_ended")

    def close(self) -> None:
        """Stop reading."""
        self._watch.stop()
        transport: Any = self.transport
        if transport is not None:
            self.transport = None
            (getattr(transport, "loseConnection", None) or transport.stopProducing)()

    def _finish(self, why: str | Ending) -> None:
        if not self.done.called:
            self.done.callback(why)

    def _look(self) -> None:
        now = self._clock.seconds()
        quiet = now - self._heard_at
        if quiet >= STALL_SECONDS:
            self._finish("stream_stalled")
        else:
            self._watch.start(STALL_SECONDS - quiet, self._look)

    def _tag(self, tag: Tag) -> None:
        source = self._source
        is_ours = source.owner_of(tag)
        if is_ours is not None:
            if self._is_ours and not is_ours:
                # Streams are pooled: another call uses this one now.
                why = "the caller's stream went on to another call"
                self._finish(Ending(Outcome.COMPLETED, why))
            self._is_ours = is_ours
        elif not isinstance(tag.value, str):
            return
        elif tag.name == _FRAGMENT:
            self._is_new = source.is_next(tag.value)
        elif tag.name == _TOKEN:
            source.resumes_at(tag.value)
            if self._clock.seconds() >= self._renew_at:
                self._finish("stream_renewed")
        elif tag.name == _ERROR:
            self._finish(f"stream_error_{tag.value[:8]}")
