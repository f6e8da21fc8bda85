"""
C{X-Gw-Auth}: the proof that the operator's own Lambda sent a call.

All customers with a Voice Connector in a region share its networks, so an address
proves nothing, nor does a header that anybody may write.  The Lambda
(L{chime_gateway.aws.sma.prove}) signs the time, the transaction and the agent with a
secret that both ends have::

    X-Gw-Auth: v1.MILLISECONDS.SIGNATURE[.SIGNATURE]

A signature is the HMAC-SHA-256 of L{signed_text}, in base64url without padding; while
one secret replaces another, there are two signatures.  The time is an argument.
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

#: Clocks of two machines may differ by so much.
SKEW_SECONDS: Final = 60.0

#: Used proofs that are remembered one by one: more than come in their time.
MAX_USED: Final = 100_000

_FORM: Final = re.compile(r"v1\.([0-9]{1,15})((?:\.[A-Za-z0-9_-]{43}){1,2})\Z")

#: No Call-ID is empty.
_NOBODY: Final = ""

#: Longer than any that is well formed.
_MAX_LENGTH: Final = 120


def signed_text(milliseconds: str, transaction_id: str, agent: str) -> bytes:
    """No part can be taken for another: a header's value holds no line end."""
    text = "\n".join(("chimegw-call-v1", milliseconds, transaction_id, agent))
    return text.encode("utf-8", "surrogateescape")


def signature(secret: str, text: bytes) -> bytes:
    digest = hmac.new(secret.encode(), text, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


@frozen
class UsedProof:
    """
    What is remembered of a proof that was used.

    @ivar digest: of what was signed.
    @ivar call_id: who used it; empty: nobody may again.
    @ivar signed: when, in milliseconds.
    @ivar is_under_way: the call is neither answered nor over.
    """

    digest: bytes
    call_id: str
    signed: int
    is_under_way: bool


class CallProofs:
    """
    Judges proofs, and remembers those that were used.

    What is remembered is forgotten some day, and a clock may be set back then.  So
    no proof is good any more that is as old as one that was forgotten.

    @param secrets: each of them is good.
    @param valid_seconds: from when it was signed.
    """

    def __init__(
        self, secrets: Sequence[str], valid_seconds: float, most: int = MAX_USED
    ) -> None:
        self._secrets = tuple(secrets)
        self._valid_seconds = valid_seconds
        self._most = most
        # Digest of what was signed -> the Call-ID that used it, and when it was signed.
        self._used: OrderedDict[bytes, tuple[str, int]] = OrderedDict()
        self._under_way: set[bytes] = set()
        self._forgotten = 0

    def change(self, secrets: Sequence[str], valid_seconds: float) -> None:
        """Others from now on; what was used stays used."""
        self._secrets = tuple(secrets)
        self._valid_seconds = valid_seconds

    def __len__(self) -> int:
        return len(self._used)

    def fault(
        self, proof: str, transaction_id: str, agent: str, call_id: str, now: float
    ) -> str:
        """
        What is wrong with a proof; empty: nothing.

        @param proof: the value of the header.
        @param call_id: of the INVITE.  The same one may come again with its proof,
            because a proxy tries again what was refused.
        @param now: Unix seconds.
        """
        found = _FORM.match(proof) if len(proof) <= _MAX_LENGTH else None
        if found is None:
            return "malformed" if proof else "missing"
        text = signed_text(found[1], transaction_id, agent)
        given = [part.encode() for part in found[2].split(".")[1:]]
        wanted = [signature(secret, text) for secret in self._secrets]
        # All are compared, whichever is right.
        if not sum(hmac.compare_digest(a, b) for a in given for b in wanted):
            return "not of our secret, or of another call"
        signed = int(found[1])
        age = now - signed / 1000
        if age < -SKEW_SECONDS:
            return "of the future: compare the clocks"
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
        Of a proof without L{fault}: it is this call's from now on.

        @return: names it, for L{settle}, which has to be called.
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
        A call that was answered does not begin again, whoever knows its Call-ID; one
        that was not may.
        """
        self._under_way.discard(digest)
        used = self._used.get(digest)
        if was_answered and used is not None:
            self._used[digest] = (_NOBODY, used[1])

    # -- of another process -----------------------------------------------------------

    @property
    def forgotten(self) -> int:
        """What was signed until then may have been used."""
        return self._forgotten

    def used(self) -> Iterator[UsedProof]:
        """All that are remembered, as they were used."""
        for digest, (call_id, signed) in self._used.items():
            yield UsedProof(digest, call_id, signed, digest in self._under_way)

    def inherit(self, used: Iterable[UsedProof], forgotten: int) -> None:
        """What the process before this one has seen."""
        self._forgotten = max(self._forgotten, forgotten)
        for one in used:
            self._used[one.digest] = one.call_id, one.signed
            if one.is_under_way:
                self._under_way.add(one.digest)

    def distrust(self, now: float) -> None:
        """Proofs were used that nobody remembers: what was signed until now is none."""
        self._forgotten = max(self._forgotten, int(now * 1000))
