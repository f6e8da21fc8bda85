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

#: Maximum size of a message.  256 KiB are 24 s of mu-law in base64; messages with more
#: than some seconds are a mistake or an attack.
MAX_MESSAGE_BYTES: Final = 1 << 18

#: Extensions of Twilio's protocol, used only if the carrier requests them in C{start}.
HANG_UP: Final = "hangup"
TRANSFER: Final = "transfer"
SEND_DTMF: Final = "dtmf"
CAPABILITIES: Final = frozenset({HANG_UP, TRANSFER, SEND_DTMF})


@frozen
class Started:
    """
    The carrier describes the stream; its audio follows.

    @ivar stream_id: the carrier's id of the stream (C{streamSid}).
    @ivar carrier_call_id: the carrier's id of the call (C{callSid}).
    @ivar parameters: C{customParameters}, which include the token, if any.
    @ivar capabilities: the L{CAPABILITIES} that the carrier has.
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
    """
    The carrier has played all audio before the mark or, after a clear, discarded it.
    """

    name: str


@frozen
class Transferred:
    """
    The result of a transfer.

    @ivar fault: why it failed, so that the caller is still connected; empty: it
        succeeded, and the caller is gone.
    """

    transfer_id: str
    fault: str


@frozen
class Stopped:
    """The carrier has ended the stream: the caller is gone."""


@frozen
class Ignored:
    """A harmless message that is ignored, and counted by C{why}."""

    why: str


Event: TypeAlias = (
    Started | DigitPressed | MarkReached | Transferred | Stopped | Ignored
)


class StreamDialect(Protocol):
    """
    One carrier's variant of a media stream.

    @ivar carrier: the carrier's name in metrics and records.
    @ivar buffers: whether the carrier has a playout buffer: it accepts audio faster
        than real time, and supports C{clear}.  Otherwise it must be sent one frame
        each ptime.
    @ivar echoes_marks: whether it returns a mark when the audio before it was played.
    @ivar codec: the codec of the L{Started} event.
    """

    carrier: str
    buffers: bool
    echoes_marks: bool
    codec: Codec

    def receive(self, payload: bytes, is_binary: bool) -> Event | bytes:
        """
        Parse one message.  The caller's audio is returned as plain C{bytes} in
        C{codec}, everything else as an event.

        @raise RemoteProtocolError: the message violates the protocol; the call must
            end.
        """

    def audio(self, audio: bytes) -> tuple[bytes, bool]:
        """Make a message that plays C{audio}; return also whether it is binary."""

    def mark(self, name: str) -> bytes | None:
        """Make a mark, as a text message; C{None}: the dialect has no marks."""

    def clear(self) -> bytes | None:
        """Make a text message that empties the carrier's playout buffer."""

    def hang_up(self, outcome: str, reason: str) -> bytes:
        """Make a text message that ends the call; for carriers with L{HANG_UP}."""

    def transfer(self, transfer_id: str, target: str) -> bytes:
        """Make a text message for a transfer; for carriers with L{TRANSFER}."""

    def press(self, digit: str) -> bytes:
        """Make a text message that sends a key; for carriers with L{SEND_DTMF}."""
