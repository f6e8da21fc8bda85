"""
The media section for data channels (RFC 8841), offered beside audio.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from chime_gateway.wire.number import decimal
from chime_gateway.wire.sdp.description import Media, SdpError

#: The port that all implementations use.
SCTP_PORT: Final = 5000

_PROTOCOLS: Final = frozenset({"UDP/DTLS/SCTP", "TCP/DTLS/SCTP"})
_FORMAT: Final = "webrtc-datachannel"

#: The default (RFC 8841 section 6.1), and what stands for "any size".
_MOST_BYTES: Final = 65_536
_ANY_BYTES: Final = 1 << 31


@frozen
class RemoteChannel:
    """
    The peer's side.

    @ivar port: its SCTP port.
    @ivar most_message_bytes: the largest message that it receives.
    """

    port: int = SCTP_PORT
    most_message_bytes: int = _MOST_BYTES


def read_channel(media: Media, *, is_bundled: bool) -> RemoteChannel:
    """
    Read the section for data channels.

    @raise SdpError: it is not one, it is malformed, or the channel is refused.
    """
    if media.kind != "application" or media.protocol.upper() not in _PROTOCOLS:
        raise SdpError("there is no data channel")
    if media.port == 0 and not is_bundled:
        raise SdpError("the data channel is refused (port 0)")
    port = decimal(media.get("sctp-port") or str(SCTP_PORT), 0xFFFF)
    most = decimal(media.get("max-message-size") or str(_MOST_BYTES), 1 << 63)
    if not port or most is None:
        raise SdpError("a=sctp-port or a=max-message-size is malformed")
    return RemoteChannel(port, min(most or _ANY_BYTES, _ANY_BYTES))


def channel_lines(port: int, most_message_bytes: int) -> list[str]:
    """
    Write the section for data channels.

    @param port: the port of the transport that it shares.
    @param most_message_bytes: the largest message that we receive.
    """
    return [
        f"m=application {port} UDP/DTLS/SCTP {_FORMAT}",
        f"a=sctp-port:{SCTP_PORT}",
        f"a=max-message-size:{most_message_bytes}",
    ]
