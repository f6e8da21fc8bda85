"""
The interface of every dialect of the media stream: messages in, events out; commands
in, messages out.

A dialect is sans I/O: the leg owns sockets, time, authentication and the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol, TypeAlias

from attrs import field, frozen

from chime_gateway.audio import Codec

#: One message holds at most some seconds of audio: 256 KiB is 24 s of mu-law
#: in base64.  Larger is a mistake or an attack.
MAX_MESSAGE_BYTES: Final = 1 << 18

#: Messages beyond Twilio's that a carrier's side must ask for in C{start}.
HANG_UP: Final = "hangup"
TRANSFER: Final = "transfer"
SEND_DTMF: Final = "dtmf"
CAPABILITIES: Final = frozenset({HANG_UP, TRANSFER, SEND_DTMF})


@frozen
class Started:
    """
    The carrier describes the stream; its audio follows.

    @ivar stream_id: the carrier's name for the stream (C{streamSid}).
    @ivar carrier_call_id: the carrier's name for the call (C{callSid}).
    @ivar parameters: C{customParameters}; the token, if any, is among them.
    @ivar capabilities: which of L{CAPABILITIES} the carrier's side has.
    """

    stream_id: str
    carrier_call_id: str
    codec: Codec
    parameters: Mapping[str, str] = field(
        repr=lambda value: f"<{len(value)} parameters>"
    )
    capabilities: frozenset[str] = frozenset()


@frozen
class DigitPressed:
    """The caller pressed a key."""

    digit: str


@frozen
class MarkReached:
    """The carrier played, or after a clear discarded, all audio before the mark."""

    name: str


@frozen
class Transferred:
    """
    What became of a transfer.

    @ivar fault: why the caller is still here; empty: the caller is gone.
    """

    transfer_id: str
    fault: str


@frozen
class Stopped:
    """The carrier ended the stream: the caller is gone."""


@frozen
class Ignored:
    """Something harmless that means nothing here.  Counted by C{why}."""

    why: str


Event: TypeAlias = (
    Started | DigitPressed | MarkReached | Transferred | Stopped | Ignored
)


class StreamDialect(Protocol):
    """
    One carrier's variant of a media stream.

    @ivar carrier: the name in metrics and records.
    @ivar buffers: the carrier has a playout buffer, takes audio faster than
        real time and obeys C{clear}.  Otherwise it must be fed one frame each
        ptime.
    @ivar echoes_marks: it returns a mark when what came before it was played.
    @ivar codec: settled by the L{Started} event.
    """

    carrier: str
    buffers: bool
    echoes_marks: bool
    codec: Codec

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        """
        Parse one message: the caller's audio comes as plain C{bytes} in
        C{codec}, everything else as an event.

        @raise RemoteProtocolError: the message cannot be understood; the call
            must end.
        """

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        """A message that plays C{audio}, and whether it is a binary one."""

    def mark(self, name: str) -> bytes | None:
        """A text message, or C{None} where the dialect has no marks."""

    def clear(self) -> bytes | None:
        """A text message that empties the carrier's playout buffer."""

    def hang_up(self, outcome: str, reason: str) -> bytes:
        """The call is over; for carriers with L{HANG_UP}."""

    def transfer(self, transfer_id: str, target: str) -> bytes:
        """Transfer the caller; for carriers with L{TRANSFER}."""

    def press(self, digit: str) -> bytes:
        """Send a key to the caller's side; for carriers with L{SEND_DTMF}."""
