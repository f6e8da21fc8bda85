"""
ICE paths, and the candidates and credentials of session descriptions (RFC 8839, RFC
6544).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from attrs import field, frozen

from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.address import canonical, is_destination
from chime_gateway.wire.number import decimal

#: RFC 8839 section 5.4: 4 to 256 and 22 to 256 characters of C{ice-char}.
_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
_FOUNDATION: Final = re.compile(r"[A-Za-z0-9+/]{1,32}\Z")

#: RFC 8445 section 5.1.2.2.
_TYPE_PREFERENCES: Final = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
_MOST_PRIORITY: Final = 2**31 - 1
_TCP_TYPES: Final = ("active", "passive", "so")


class Path(NamedTuple):
    """
    Our socket and the peer's address: where a packet comes from or goes to.

    @ivar local: the local socket, as its owner identifies it.
    @ivar host: the peer's address, in the form of L{canonical}.
    @ivar is_tcp: whether it is a connection, which retransmits lost data itself.
    """

    local: Hashable
    host: str
    port: int
    is_tcp: bool = False


class CredentialsError(RemoteProtocolError):
    """A user fragment or password that ICE does not allow."""


@frozen
class Credentials:
    """
    One side's user fragment, which identifies it in checks, and the password that they
    are signed with.

    @raise CredentialsError: they are too short, too long or have invalid characters.
    """

    ufrag: str
    password: str = field(repr=False)

    def __attrs_post_init__(self) -> None:
        if not _UFRAG.match(self.ufrag):
            raise CredentialsError("not an ice-ufrag")
        if not _PASSWORD.match(self.password):
            raise CredentialsError("not an ice-pwd")


def new_credentials(random: Callable[[int], bytes], mark: str = "") -> Credentials:
    """
    Make random credentials.

    @param random: returns that many unpredictable bytes.
    @param mark: prefix of the user fragment.
    """
    return Credentials(mark + random(6).hex(), random(16).hex())


def priority(kind: str, local_preference: int = 65535) -> int:
    """Return a candidate's priority, for component 1 (RFC 8445 section 5.1.2.1)."""
    return _TYPE_PREFERENCES[kind] << 24 | local_preference << 8 | 255


#: A local preference of TCP, below that of UDP (RFC 6544 section 4.2: the direction
#: preference in its upper bits, 4 for passive and 6 for active).
TCP_PASSIVE_PREFERENCE: Final = 4 << 13 | 8191
TCP_ACTIVE_PREFERENCE: Final = 6 << 13 | 8191


@frozen
class Candidate:
    """
    An C{a=candidate} line of component 1.

    @ivar transport: C{udp} or C{tcp}.
    @ivar kind: C{host}, C{srflx}, C{prflx} or C{relay}.
    @ivar tcp_type: C{active}, C{passive} or C{so}; empty for UDP.
    """

    host: str
    port: int
    priority: int
    foundation: str = "1"
    transport: str = "udp"
    kind: str = "host"
    tcp_type: str = ""

    def __str__(self) -> str:
        """The line's value, without a related address, as ours are host candidates."""
        text = (
            f"{self.foundation} 1 {self.transport} {self.priority}"
            f" {self.host} {self.port} typ {self.kind}"
        )
        return f"{text} tcptype {self.tcp_type}" if self.tcp_type else text


def parse_candidate(value: str) -> Candidate | None:
    """
    Read a candidate.

    @param value: the text after C{a=candidate:}, extensions included.
    @return: C{None}: not usable: it is malformed, has a name (mDNS), another component
        or transport, or an address that is not of a single host.
    """
    words = value.split(None, 40)
    if len(words) < 8 or words[6].lower() != "typ" or words[1] != "1":
        return None
    foundation, _, transport, number, host, port_text, _, kind = words[:8]
    transport, kind = transport.lower(), kind.lower()
    level, port = decimal(number, _MOST_PRIORITY), decimal(port_text, 65535)
    if not (_FOUNDATION.match(foundation) and level and port is not None):
        return None
    if kind not in _TYPE_PREFERENCES or not is_destination(host):
        return None
    extensions = dict(zip(words[8::2], words[9::2], strict=False))
    tcp_type = extensions.get("tcptype", "").lower()
    if transport == "udp":
        tcp_type = ""
    elif transport != "tcp" or tcp_type not in _TCP_TYPES:
        return None
    # An active candidate, which does not listen, has port 9.
    if port == 0:
        return None
    return Candidate(
        canonical(host), port, level, foundation, transport, kind, tcp_type
    )
