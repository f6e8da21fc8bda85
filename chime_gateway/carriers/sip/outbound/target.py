"""
Tells where an outbound call is sent: to the trunk, or where a 3xx redirects it (RFC
3261 sections 8.1.3.4 and 21.3).
"""

from __future__ import annotations

import re
from typing import Final

from attrs import evolve, frozen

from chime_gateway.settings.values import SipTrunk
from chime_gateway.wire.sip.dialog import Hop, hop_of
from chime_gateway.wire.sip.format import host_port
from chime_gateway.wire.sip.message import (
    BadMessage,
    Response,
    address_uri,
    header_list,
)

#: A call is redirected at most this often.
MOST_REDIRECTIONS: Final = 2

#: The maximum number of Contacts of one response that are used.
_MOST_CONTACTS: Final = 10

#: 380 names no other target, and 305 is deprecated.
_REDIRECTIONS: Final = (300, 301, 302)

_Q: Final = re.compile(
    r";\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?=[;,]|\Z)", re.IGNORECASE
)


@frozen
class Target:
    """
    Where an INVITE is sent.

    @ivar uri: the URI of the request line.
    @ivar name: the host name, as in certificates.
    @ivar hop: the next hop, with the address once it is known.
    """

    uri: str
    name: str
    hop: Hop

    @property
    def is_secure(self) -> bool:
        return self.uri[:5].lower() == "sips:"

    def at(self, address: str) -> Target:
        """Return the same target with the address of its host."""
        return evolve(self, hop=evolve(self.hop, host=address))


def trunk_target(trunk: SipTrunk, number: str) -> Target:
    host = host_port(trunk.host.strip("[]"), trunk.port)
    parameter = "" if trunk.transport == "udp" else f";transport={trunk.transport}"
    name = trunk.host.strip("[]")
    hop = Hop(name, trunk.port, trunk.transport)
    return Target(f"sip:{number}@{host}{parameter}", name, hop)


def redirections(response: Response, trunk: SipTrunk) -> list[Target]:
    """
    Return the targets that a response redirects to, sorted by C{q}, then as written.
    """
    if response.status not in _REDIRECTIONS:
        return []
    found: list[tuple[float, Target]] = []
    for value in header_list(response, "Contact")[:_MOST_CONTACTS]:
        try:
            uri = address_uri(value).partition("?")[0]
            hop = hop_of(uri, trunk.transport)
        except BadMessage:
            continue
        if uri.partition(":")[0].lower() not in ("sip", "sips") or re.search(
            r"\s", uri
        ):
            continue
        found.append((_q(value), Target(uri, hop.host, hop)))
    found.sort(key=lambda pair: -pair[0])
    return [target for _, target in found]


def _q(contact: str) -> float:
    """Return the C{q} value of a Contact, 1 by default."""
    parameters = contact.rpartition(">")[2] if "<" in contact else contact
    given = _Q.search(parameters)
    return 1.0 if given is None else float(given[1])
