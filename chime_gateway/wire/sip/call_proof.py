"""
C{X-Gw-Auth}: the proof that the operator's own Lambda sent a call.

All customers with a Voice Connector in a region share its networks, so an address
proves nothing, and anybody can write a header.  The Lambda
(L{chime_gateway.aws.sma.prove}) signs the time, the transaction and the agent with a
shared secret::

    X-Gw-Auth: v1.MILLISECONDS.SIGNATURE[.SIGNATURE]

A signature is the HMAC-SHA-256 of L{signed_text}, in base64url without padding.  While
one secret replaces another, there are two signatures.  This module reads no clock: the
time is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

HEADER: Final = "X-Gw-Auth"

#: Maximum difference between the clocks of two machines.
SKEW_SECONDS: Final = 60.0

#: Maximum number of used proofs that are remembered: more than are used while valid.
MAX_USED: Final = 100_000

_FORM: Final = re.compile(r"v1\.([0-9]{1,15})((?:\.[A-Za-z0-9_-]{43}){1,2})\Z")

#: Stands for a Call-ID, which is never empty: no call may use the proof again.
_NO_CALL: Final = ""

#: Longer than any valid proof.
_MAX_LENGTH: Final = 120


def signed_text(milliseconds: str, transaction_id: str, agent: str) -> bytes:
    """Join the signed parts.  This is unambiguous: header values have no line ends."""
    text = "\n".join(("chimegw-call-v1", milliseconds, transaction_id, agent))
    return text.encode("utf-8", "surrogateescape")


def signature(secret: str, text: bytes) -> bytes:
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


@frozen
class UsedProof:
    """
    A proof that was used.

    @ivar digest: hash of the signed text.
    @ivar call_id: the call that used it, and may use it again; empty: none may.
    @ivar signed: when it was signed, in milliseconds.
    @ivar is_under_way: whether the call has neither been answered nor ended.
    """

    digest: bytes
    call_id: str
    signed: int
    is_under_way: bool


class CallProofs:
    """
    Verifies proofs, and remembers used ones.

    Used proofs are forgotten after some time, and the clock may be set back after that.
    So a proof is refused if it is as old as a forgotten one, or older.

    @param secrets: a proof may be signed with any of them.
    @param valid_seconds: how long a proof is valid after it was signed.
    @param most: maximum number of used proofs that are remembered.
    """

    def __init__(
        self, secrets: Sequence[str], valid_seconds: float, most: int = MAX_USED
    ) -> None:
        self._secrets = tuple(secrets)
        self._valid_seconds = valid_seconds
        self._most = most
        # Hash of the signed text -> the Call-ID that used it, and when it was signed.
        self._used: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._under_way: set[bytes] = set()
        self._forgotten = 0

    def change(self, secrets: Sequence[str], valid_seconds: float) -> None:
        """Use other settings from now on; used proofs are still remembered."""
        self._secrets = tuple(secrets)
        self._valid_seconds = valid_seconds

    def __len__(self) -> int:
        return len(self._used)

    def fault(
        self, proof: str, transaction_id: str, agent: str, call_id: str, now: float
    ) -> str:
        """
        Return what is wrong with a proof; empty: it is valid.

        @param proof: the value of the header.
        @param call_id: the INVITE's Call-ID.  The same INVITE may come again with its
            proof, as a proxy repeats a refused request.
        @param now: Unix seconds.
        """
        found = _FORM.match(proof) if len(proof) <= _MAX_LENGTH else None
        if found is None:
            return "malformed" if proof else "missing"
        text = signed_text(found[1], transaction_id, agent)
        given = [part.encode() for part in found[2].split(".")[1:]]
        wanted = [signature(secret, text) for secret in self._secrets]
        # All are compared, so that the time does not depend on which one matches.
        if not sum(hmac.compare_digest(a, b) for a in given for b in wanted):
            return "signed with another secret, or for another call"
        signed = int(found[1])
        age = now - signed / 1000
        if age < -SKEW_SECONDS:
            return "signed in the future: compare the clocks"
        digest = hashlib.sha256(text).digest()
        used = self._used.get(digest)
        if used is not None and (used[0] != call_id or digest in self._under_way):
            return "used before"
        is_forgotten = used is None and signed <= self._forgotten
        return "expired" if age > self._valid_seconds or is_forgotten else ""

    def use(
        self, proof: str, transaction_id: str, agent: str, call_id: str, now: float
    ) -> bytes:
        """
        Assign a proof without L{fault} to this call.

        @return: the proof's hash, for L{settle}, which must be called.
        """
        signed = proof.split(".")[1]
        text = signed_text(signed, transaction_id, agent)
        digest = hashlib.sha256(text).digest()
        self._used[digest] = (call_id, int(signed))
        self._under_way.add(digest)
        oldest = (now - self._valid_seconds) * 1000
        while self._used:
            _, first = next(iter(self._used.values()))
            if first >= oldest and len(self._used) <= self._most:
                break
            self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, first)
        return digest

    def settle(self, digest: bytes, *, was_answered: bool) -> None:
        """
        The call was answered, or has ended.  After an answer, the proof cannot be used
        again, not even with its Call-ID; otherwise the call may be tried again.
        """
        self._under_way.discard(digest)
        used = self._used.get(digest)
        if was_answered and used is not None:
            self._used[digest] = (_NO_CALL, used[1])

    # -- between processes ------------------------------------------------------------

    @property
    def forgotten(self) -> int:
        """Proofs signed until then (in milliseconds) may have been used: refused."""
        return self._forgotten

    def used(self) -> Iterator[UsedProof]:
        """Return the remembered proofs, in the order of their use."""
        for digest, (call_id, signed) in self._used.items():
            yield UsedProof(digest, call_id, signed, digest in self._under_way)

    def inherit(self, used: Iterable[UsedProof], forgotten: int) -> None:
        """Add the used proofs of the previous process."""
        self._forgotten = max(self._forgotten, forgotten)
        for one in used:
            self._used[one.digest] = one.call_id, one.signed
            if one.is_under_way:
                self._under_way.add(one.digest)

    def distrust(self, now: float) -> None:
        """Refuse all proofs signed until now: used ones may have been forgotten."""
        self._forgotten = max(self._forgotten, int(now * 1000))
