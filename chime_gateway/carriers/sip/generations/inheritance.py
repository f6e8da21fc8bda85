"""
Collects what the newest process has to know about the older ones: what they have in
progress, used proofs, calls that wait for their ACK, and media ports in use.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from attrs import define, field
from twisted.logger import Logger

from chime_gateway.carriers.sip.admission import Admission
from chime_gateway.carriers.sip.context import SipContext
from chime_gateway.carriers.sip.generations.holdings import Holdings
from chime_gateway.carriers.sip.generations.marks import DIGEST_BYTES
from chime_gateway.carriers.sip.generations.records import Records
from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, Peer
from chime_gateway.net.timer import Timer
from chime_gateway.wire.sip.call_proof import UsedProof

#: How often an older process reports what has ended.  Until then a message may be
#: passed to it in vain, which does no harm.
TELL_SECONDS: Final = 1.0

#: The maximum number of proofs in one message.
_PROOFS_A_MESSAGE: Final = 2_000


def _cut(digests: bytes) -> list[bytes]:
    return [
        digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)
    ]


@define(eq=False)
class Inheritance:
    """
    The exchange of this knowledge between processes.

    @ivar records: what older processes have reported.
    """

    _log = Logger()

    kin: Kin
    records: Records
    holdings: Holdings
    admission: Admission
    context: SipContext
    _next: Timer = field(init=False)
    _waiting_told: Counter[str] = field(init=False, factory=Counter)
    _ports_told: frozenset[int] = field(init=False, factory=frozenset)
    # Proofs of calls that are neither answered nor over, by generation.
    _under_way: dict[str, set[bytes]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._next = Timer(self.context.clock)
        kin = self.kin
        kin.on("sip.holds", self._holds)
        kin.on("sip.over", self._over)
        kin.on("sip.waiting", self._waiting)
        kin.on("sip.ports", self._ports)
        kin.on("sip.proofs", self._proofs)
        kin.on("sip.settled", self._proof_settled)
        kin.handing_over.append(self.hand_over)
        kin.newest_changed.append(self.tell)
        kin.taken_back.append(self._taken_back)
        kin.older_gone.append(self._older_gone)
        self.admission.settled = self._settled

    def stop(self) -> None:
        self._next.stop()

    # -- in an older process ---------------------------------------------------------

    def hand_over(self, peer: Peer) -> None:
        """Report all that a successor has to know before it reads a message."""
        for generation in self.kin.older:
            # The older ones report it as well, but perhaps a moment too late.
            held = self.records.of(generation)
            peer.send("sip.holds", {"of": generation}, b"".join(held))
        self._tell_proofs(peer)
        self._tell(peer)

    def tell(self, peer: Peer) -> None:
        """Another process is the newest now: all older ones report to it."""
        self.records.forget()
        self.admission.elsewhere.clear()
        self.context.ports.clear_reserved()
        self._tell(peer)
        self._next.start(TELL_SECONDS, self._tell_more)

    def _tell(self, peer: Peer) -> None:
        generation = self.kin.generation
        held = self.holdings.all()
        peer.send("sip.holds", {"of": generation}, b"".join(held))
        self._tell_ports(peer)
        self._tell_waiting(peer)

    def _tell_ports(self, peer: Peer) -> None:
        self._ports_told = self.context.ports.not_free()
        peer.send("sip.ports", {"numbers": sorted(self._ports_told)})

    def _tell_waiting(self, peer: Peer) -> None:
        self._waiting_told = self.admission.places()
        peer.send("sip.waiting", {"places": dict(self._waiting_told)})

    def _tell_more(self) -> None:
        peer = self.kin.newest
        if peer is None:
            return
        self._next.start(TELL_SECONDS, self._tell_more)
        over = self.holdings.over()
        if over:
            peer.send("sip.over", {}, b"".join(over))
        if self.admission.places() != self._waiting_told:
            self._tell_waiting(peer)
        if self.context.ports.not_free() != self._ports_told:
            self._tell_ports(peer)

    def _tell_proofs(self, peer: Peer) -> None:
        """Report used proofs, also those of calls in older processes."""
        proofs = self.admission.proofs
        owners = {one: of for of, some in self._under_way.items() for one in some}
        entries: list[list[Any]] = []
        for used in proofs.used():
            ours = self.kin.generation if used.is_under_way else ""
            owner = owners.get(used.digest, ours)
            entries.append([used.digest.hex(), used.call_id, used.signed, owner])
        for at in range(0, max(1, len(entries)), _PROOFS_A_MESSAGE):
            some = entries[at : at + _PROOFS_A_MESSAGE]
            head = {"used": some, "forgotten": proofs.forgotten}
            peer.send("sip.proofs", head)

    def _settled(self, digest: bytes, was_answered: bool) -> None:
        if self.kin.newest is not None:
            head = {"proof": digest.hex(), "answered": was_answered}
            self.kin.newest.send("sip.settled", head)

    # -- in the newest process -------------------------------------------------------

    def _holds(self, peer: Peer, message: Message) -> None:
        generation = str(message.head["of"])
        self.records.joined(generation)
        self.records.holds(generation, _cut(message.body))

    def _over(self, peer: Peer, message: Message) -> None:
        self.records.lets_go(peer.generation, _cut(message.body))

    def _waiting(self, peer: Peer, message: Message) -> None:
        places = Counter[str](message.head["places"])
        self.admission.elsewhere[peer.generation] = places

    def _ports(self, peer: Peer, message: Message) -> None:
        self.context.ports.reserve_for(peer.generation, message.head["numbers"])

    def _proofs(self, peer: Peer, message: Message) -> None:
        used = []
        for digest_text, call_id, signed, owner in message.head["used"]:
            digest = bytes.fromhex(digest_text)
            used.append(UsedProof(digest, call_id, signed, bool(owner)))
            if owner:
                self._under_way.setdefault(owner, set()).add(digest)
        self.admission.proofs.inherit(used, message.head["forgotten"])

    def _proof_settled(self, peer: Peer, message: Message) -> None:
        digest = bytes.fromhex(message.head["proof"])
        self._under_way.get(peer.generation, set()).discard(digest)
        was_answered = bool(message.head["answered"])
        self.admission.proofs.settle(digest, was_answered=was_answered)

    def _older_gone(self, peer: Peer) -> None:
        generation = peer.generation
        self.records.gone(generation)
        self.admission.elsewhere.pop(generation, None)
        self.context.ports.reserve_for(generation, ())
        for digest in self._under_way.pop(generation, ()):
            self.admission.proofs.settle(digest, was_answered=False)

    def _taken_back(self) -> None:
        """The newest process is gone, and it is not known which proofs it has used."""
        self._next.stop()
        self.admission.distrust_proofs()
