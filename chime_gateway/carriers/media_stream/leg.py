"""
The caller's leg over a WebSocket media stream.

It translates between a dialect's messages (L{chime_gateway.wire.media_stream}) and the
seam of a call.  L{chime_gateway.carriers.media_stream.listener} has its socket and
checks who may open one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chime_gateway.carriers.media_stream.close_codes import (
    CLOSE_CODES,
    CLOSE_UNKNOWN_AGENT,
    VIOLATION_CODES,
)
from chime_gateway.carriers.media_stream.early_audio import EarlyAudio
from chime_gateway.carriers.pending_transfer import PendingTransfer
from chime_gateway.errors import (
    CallRefused,
    RemoteProtocolError,
    TransferFailed,
    UnknownAgent,
)
from chime_gateway.interfaces import CarrierTraits, LegEvents
from chime_gateway.net.rate_limit import TokenBucket
from chime_gateway.net.timer import Timer
from chime_gateway.outcomes import CallerInfo, Ending, Outcome
from chime_gateway.switchboard import Switchboard
from chime_gateway.wire.media_stream.dialect import (
    HANG_UP,
    SEND_DTMF,
    TRANSFER,
    DigitPressed,
    Event,
    Ignored,
    MarkReached,
    Started,
    Stopped,
    StreamDialect,
    Transferred,
)

#: Messages that a carrier may send at once beyond L{MAX_MESSAGES_PER_SECOND}: half a
#: minute of audio, as after a stalled link.  Carriers send 50 or 100 a second.
MESSAGE_BURST: Final = 2000
MAX_MESSAGES_PER_SECOND: Final = 1000

#: The same before the call begins, when the peer may be a stranger.
EARLY_MESSAGE_BURST: Final = 500
EARLY_MESSAGES_PER_SECOND: Final = 100

#: The cost of a control frame or fragment, in messages.
ODD_FRAME_WEIGHT: Final = 4

#: A carrier that was told to hang up has this long to close the stream.
HANG_UP_SECONDS: Final = 5.0

#: A transfer without a report by then has failed.
TRANSFER_SECONDS: Final = 30.0

#: The rate is checked once in this many messages.
_RATE_CHECK: Final = 64

#: The names of the two numbers in customParameters.
_CALLER_NAMES: Final = ("from", "caller", "From")
_CALLED_NAMES: Final = ("to", "called", "To")


class MessageSink(Protocol):
    """The socket, as a leg needs it; see L{LeanWebSocket}."""

    place: str

    def send_message(self, payload: bytes, is_binary: bool = False) -> bool: ...
    def close(self, code: int, reason: str) -> None: ...
    def accepted(self) -> None: ...


def traits_of(dialect: StreamDialect) -> CarrierTraits:
    """Return the traits of a dialect's carrier."""
    return CarrierTraits(
        name=dialect.carrier,
        buffers=dialect.buffers,
        reports_playback=dialect.echoes_marks,
    )


class StreamLeg:
    """
    One media stream, from its first message to its end.

    @param is_authorized: the credentials came with the upgrade.  Otherwise
        C{check_token} has to accept the token in C{start}.
    """

    _log = Logger()

    __slots__ = (
        *("_call", "_capabilities", "_check_token", "_clock", "_closing", "_dialect"),
        *("_early", "_hear", "_is_authorized", "_is_over", "_rate"),
        *("_receive", "_send", "_socket", "_start_due", "_switchboard", "_transfer"),
        *("_transfers", "_unweighed", "codec", "info", "traits"),
    )

    def __init__(
        self,
        dialect: StreamDialect,
        socket: MessageSink,
        switchboard: Switchboard,
        *,
        is_authorized: bool,
        check_token: Callable[[str], bool],
        clock: IReactorTime,
        start_seconds: float,
    ) -> None:
        self.traits = traits_of(dialect)
        self.codec = dialect.codec
        self.info = CallerInfo()
        self._dialect = dialect
        self._socket = socket
        # Called for every frame, so bound directly.
        self._receive = dialect.receive
        self._early = EarlyAudio(clock.seconds)
        self._hear: Callable[[bytes], None] = self._early.keep
        self._send = socket.send_message
        self._switchboard = switchboard
        self._is_authorized = is_authorized
        self._check_token = check_token
        self._clock = clock
        self._call: LegEvents | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._transfers = 0
        self._transfer: PendingTransfer | None = None
        self._is_over = False
        self._closing = Timer(clock)
        self._unweighed = 0
        self._rate = TokenBucket(EARLY_MESSAGES_PER_SECOND, EARLY_MESSAGE_BURST)
        self._start_due = Timer(clock)
        self._start_due.start(start_seconds, self._start_missing)
        # Refused before its first message, so that it costs nothing.
        refusal = switchboard.door(self.traits.fails_over)
        if refusal is not None:
            self._end(Ending(Outcome.REFUSED, refusal))

    # -- from the socket -------------------------------------------------------

    def message_received(self, payload: bytes, is_binary: bool) -> None:
        if self._is_over:
            if self._closing.is_running:
                self._wait_for_stop(payload, is_binary)
            return
        self._unweighed += 1
        if self._unweighed >= _RATE_CHECK and self._is_flooded():
            self._break("too many messages")
            return
        try:
            event = self._receive(payload, is_binary)
        except RemoteProtocolError as exc:
            self._break(str(exc))
            return
        if type(event) is bytes:
            self._hear(event)
        else:
            self._dispatch(event)  # type: ignore[arg-type]

    def frame_received(self) -> bool:
        """
        A WebSocket frame came that is not a whole message: a control frame or fragment.

        @return: C{False}: too many still come, after the stream was closed for it.
        """
        self._unweighed += ODD_FRAME_WEIGHT
        if self._unweighed >= _RATE_CHECK and self._is_flooded():
            if self._is_over:
                return False
            self._break("too many messages")
        return True

    def socket_closed(self, code: int | None, was_clean: bool) -> None:
        """The connection is closed, by either side."""
        self._closing.stop()
        if code in VIOLATION_CODES:
            ending = Ending(
                Outcome.CALLER_PROTOCOL_ERROR, f"WebSocket violation ({code})"
            )
        elif was_clean:
            # Not every carrier sends C{stop} before it closes.
            ending = Ending(Outcome.COMPLETED, "the carrier closed the stream")
        else:
            ending = Ending(Outcome.CALLER_LOST, "the carrier's connection broke")
        self._end(ending)

    def socket_stalled(self) -> None:
        self._end(Ending(Outcome.CALLER_LOST, "the carrier stopped reading"))

    def failed(self) -> None:
        """A message could not be processed, because of a bug or lack of memory."""
        self._end(Ending(Outcome.INTERNAL_ERROR, "internal error"))

    # -- CallLeg -----------------------------------------------------------------

    def answer(self) -> None:
        """A stream is answered by its audio."""

    def play(self, audio: bytes) -> None:
        message, is_binary = self._dialect.audio(audio)
        was_sent = self._send(message, is_binary)
        if not was_sent and self._call is not None:
            self._call.audio_dropped("carrier_slow", len(audio))

    def clear(self) -> None:
        self._command(self._dialect.clear())

    def mark(self, name: str) -> None:
        self._command(self._dialect.mark(name))

    def send_digits(self, digits: str) -> bool:
        if SEND_DTMF not in self._capabilities:
            return False
        for digit in digits:
            self._socket.send_message(self._dialect.press(digit))
        return True

    def transfer(self, target: str) -> Deferred[None]:
        if TRANSFER not in self._capabilities:
            return fail(
                TransferFailed(
                    "the carrier's side of this stream has not declared that it can"
                    ' transfer ("capabilities" in start)'
                )
            )
        if self._is_transferring:
            return fail(TransferFailed("a transfer is under way"))
        self._transfers += 1
        self._transfer = PendingTransfer(self._clock, TRANSFER_SECONDS)
        self._socket.send_message(self._dialect.transfer(f"t{self._transfers}", target))
        return self._transfer.done

    def hang_up(self, ending: Ending) -> None:
        self._call, self._hear = None, self._early.keep
        if HANG_UP not in self._capabilities or self._is_over:
            self._close(ending, CLOSE_CODES[ending.outcome])
            return
        # The carrier hangs up, and the stream ends then.
        self._release()
        outcome = ending.outcome.value
        self._socket.send_message(self._dialect.hang_up(outcome, ending.reason))
        self._closing.start(HANG_UP_SECONDS, self._hang_up_now, ending)

    # -- inside --------------------------------------------------------------------

    @property
    def _is_transferring(self) -> bool:
        return self._transfer is not None and not self._transfer.is_over

    def _command(self, message: bytes | None) -> None:
        if message is not None:
            self._socket.send_message(message)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, Started):
            self._started(event)
        elif self._call is None:
            if isinstance(event, Stopped):
                self._end(Ending(Outcome.ABANDONED, "stopped before it started"))
        elif isinstance(event, MarkReached):
            self._call.mark_reached(event.name)
        elif isinstance(event, DigitPressed):
            self._call.digit_pressed(event.digit)
        elif isinstance(event, Stopped):
            if self._transfer is not None:
                # During a transfer, a stream stops for no other reason.
                self._transfer.succeed()
            self._end(Ending(Outcome.COMPLETED, "the caller hung up"))
        elif isinstance(event, Transferred):
            self._transfer_reported(event)
        elif isinstance(event, Ignored):
            self._call.oddity_seen(event.why)

    def _started(self, event: Started) -> None:
        self._start_due.stop()
        parameters = dict(event.parameters)
        token = parameters.pop("token", None)
        if not self._is_authorized and not self._check_token(token or ""):
            why = "no valid token" if token else "no credentials"
            self._end(Ending(Outcome.UNAUTHORIZED, why))
            return
        self.codec = event.codec
        self._capabilities = event.capabilities
        self.info = CallerInfo(
            carrier_call_id=event.carrier_call_id,
            stream_id=event.stream_id,
            caller=_first(parameters, _CALLER_NAMES),
            called=_first(parameters, _CALLED_NAMES),
            agent=parameters.get("agent", ""),
            peer=self._socket.place,
            parameters=parameters,
        )
        try:
            call = self._switchboard.incoming(self)
        except CallRefused as exc:
            code = CLOSE_UNKNOWN_AGENT if isinstance(exc, UnknownAgent) else None
            self._end(Ending(Outcome.REFUSED, str(exc)), code)
            return
        if self._is_over:
            return  # the call ended while it began, and has hung up
        self._socket.accepted()
        self._rate = TokenBucket(MAX_MESSAGES_PER_SECOND, MESSAGE_BURST)
        self._call, self._hear = call, call.caller_audio
        if self._early.dropped:
            call.audio_dropped("before_start", self._early.dropped)
        for audio in self._early.take():
            self._hear(audio)

    def _is_flooded(self) -> bool:
        unweighed, self._unweighed = self._unweighed, 0
        return not self._rate.take(self._clock.seconds(), unweighed)

    def _start_missing(self) -> None:
        if not self._is_authorized:
            self._end(Ending(Outcome.UNAUTHORIZED, "no credentials"))
        else:
            self._break("no start message")

    def _break(self, why: str) -> None:
        self._end(Ending(Outcome.CALLER_PROTOCOL_ERROR, why))

    def _end(self, ending: Ending, code: int | None = None) -> None:
        """End the leg: notify the call, or count a peer that was refused."""
        if self._is_over:
            return
        call = self._call
        try:
            self._close(ending, code or CLOSE_CODES[ending.outcome])
        except Exception:
            # Without memory, it may not even have begun.
            self._log.failure("could not close a stream; trying again")
            self._close(ending, CLOSE_CODES[ending.outcome])
        finally:
            self._is_over, self._call, self._hear = True, None, self._early.keep
            if call is not None:
                try:
                    call.leg_ended(ending)
                except Exception:
                    self._log.failure("could not report a call's end; trying again")
                    call.leg_ended(ending)
            else:
                self._switchboard.turned_away(self.traits.name, ending)

    def _close(self, ending: Ending, code: int) -> None:
        self._release()
        self._closing.stop()
        self._socket.close(code, ending.reason)

    def _release(self) -> None:
        self._is_over = True
        self._early.take()
        self._start_due.stop()
        if self._transfer is not None:
            self._transfer.fail("the call is over")

    def _hang_up_now(self, ending: Ending) -> None:
        self._socket.close(CLOSE_CODES[ending.outcome], ending.reason)

    def _wait_for_stop(self, payload: bytes, is_binary: bool) -> None:
        """Wait for the C{stop} with which the carrier's side confirms the hang-up."""
        try:
            event = self._dialect.receive(payload, is_binary)
        except RemoteProtocolError:
            event = Stopped()
        if isinstance(event, Stopped):
            self._closing.move(0)

    def _transfer_reported(self, event: Transferred) -> None:
        transfer = self._transfer
        is_known = event.transfer_id == f"t{self._transfers}"
        if transfer is None or transfer.is_over or not is_known:
            if self._call is not None:
                self._call.oddity_seen("unknown_transfer")
        elif event.fault:
            transfer.fail(event.fault)
        else:
            transfer.succeed()


def _first(parameters: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((parameters[name] for name in names if name in parameters), "")
