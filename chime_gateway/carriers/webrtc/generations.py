"""
Connects the WebRTC calls of a gateway's processes.

A call's id and ufrag begin with the generation of its process.  An older process reads
what comes from known addresses of its calls itself.  The newest passes on what only
the ufrag or the id can assign: a caller's first check, a check from an address that a
NAT has changed, and a request to end a call.
"""

from __future__ import annotations

from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.generation import LENGTH
from chime_gateway.net.generations.kin import Kin, NotAnswered, Peer
from chime_gateway.rtp.ports import Address
from chime_gateway.webrtc.shared_port import SharedPort

_DELETE: Final = "webrtc.delete"
_DATAGRAM: Final = "webrtc.datagram"


class Owner(Protocol):
    """The carrier of this process."""

    def deleted(self, call_id: str) -> bool: ...


class Generations:
    """
    The WebRTC messages between this process and the others.

    @param kin: the other processes of this gateway.
    """

    def __init__(self, kin: Kin, owner: Owner) -> None:
        self._kin = kin
        self._owner = owner
        self._port: SharedPort | None = None
        kin.on(_DELETE, self._asked_to_delete)
        kin.on(_DATAGRAM, self._datagram)
        # Before the successor reads: it must not get packets of this process' calls.
        kin.handing_over.append(lambda _: self._part())
        kin.newest_changed.append(lambda _: self._part())
        kin.taken_back.append(self._taken_back)

    def start(self, port: SharedPort | None) -> None:
        """Set the shared port; C{None}: there is no UDP port."""
        self._port = port
        if port is not None:
            port.strayed = self._strayed

    def _part(self) -> None:
        if self._port is not None:
            self._port.part()

    def _taken_back(self) -> None:
        if self._port is not None:
            self._port.unite()

    # -- in the newest process -------------------------------------------------------

    def delete(self, call_id: str) -> Deferred[bool]:
        """
        End a call of an older process.  Fires with whether there was one; never fails.
        """
        older = self._kin.older.get(call_id[:LENGTH])
        if older is None:
            return succeed(False)
        asking = older.ask(_DELETE, {"id": call_id})
        return asking.addCallbacks(lambda said: bool(said.head.get("was")), _not_there)

    def _strayed(self, ufrag: str, data: bytes, address: Address) -> bool:
        older = self._kin.older.get(ufrag[:LENGTH])
        host, port = address
        return older is not None and older.send(
            _DATAGRAM, {"host": host, "port": port}, data
        )

    # -- in an older process ---------------------------------------------------------

    def _asked_to_delete(self, _: Peer, message: Message) -> Message:
        was_here = self._owner.deleted(str(message.head.get("id")))
        return Message(_DELETE, {"was": was_here})

    def _datagram(self, _: Peer, message: Message) -> None:
        head = message.head
        if self._port is not None:
            self._port.handed(message.body, (str(head["host"]), int(head["port"])))


def _not_there(failure: Failure) -> bool:
    failure.trap(NotAnswered)
    return False
