"""Telephone numbers as they may be kept: plain, masked, or hashed."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import evolve, field, fields, frozen, has

from chime_gateway.call.reports.events import (
    CallAnswered,
    CallEnded,
    CallFacts,
    CallStarted,
    Payload,
)
from chime_gateway.settings.telephone import is_number, normalised

#: What looks like a telephone number in a text of any kind.
_NUMBER: Final = re.compile(r"\+\d[\d\s().\-/]{5,}\d|\d[\d\s()/-]{5,}\d")

#: What may stand between its digits.
_BETWEEN: Final = r"[\s().\-/]*"

#: So many digits at the end are left when a number is masked.
_LEFT: Final = 2
_HASH_CHARS: Final = 24


@frozen
class NumberGuard:
    """
    @ivar how: C{plain}, C{masked} or C{hashed}.
    @ivar key: of the hash.
    """

    how: str = "plain"
    key: str = field(default="", repr=False)

    def guard(self, number: str) -> str:
        """One number; the same one always becomes the same, however it is written."""
        number = normalised(number)
        if self.how == "plain" or not number:
            return number
        if self.how == "hashed":
            digest = hmac.new(self.key.encode(), number.encode(), hashlib.sha256)
            return "hash:" + digest.hexdigest()[:_HASH_CHARS]
        shown = number[:3] if number.startswith("+") else ""
        hidden = max(0, len(number) - len(shown) - _LEFT)
        return shown + "*" * hidden + number[len(number) - _LEFT :]

    def guard_record(self, call: CallFacts) -> CallFacts:
        """
        A call's record: its two numbers, wherever they stand, and whatever looks
        like one among what the carrier passed along.
        """
        if self.how == "plain":
            return call
        return evolve(
            call,
            caller=self.guard(call.caller),
            called=self.guard(call.called),
            parameters={
                name: self._guard_text(value) for name, value in call.parameters.items()
            },
            transfers=tuple(
                evolve(transfer, target=self._guard_text(transfer.target))
                for transfer in call.transfers
            ),
        )

    def guard_payload(
        self, payload: Payload, own: frozenset[str] = frozenset()
    ) -> Payload:
        """
        What happened: the record in it, and the call's own numbers in whatever
        text they stand.
        """
        if self.how == "plain":
            return payload
        if isinstance(payload, CallStarted | CallAnswered | CallEnded):
            payload = evolve(payload, call=self.guard_record(payload.call))
        known = {
            _writings(number): self.guard(number)
            for number in sorted(own, key=len, reverse=True)
            if len(number) > 4
        }
        guarded: Payload = _replaced(payload, known) if known else payload
        return guarded

    def _guard_text(self, text: str) -> str:
        return _NUMBER.sub(lambda found: self.guard(found[0]), text)


def _writings(number: str) -> re.Pattern[str]:
    """A number in whatever writing; anything else as it is."""
    digits = number.removeprefix("+")
    if not is_number(number):
        return re.compile(re.escape(number))
    plus = r"(?:(?:\+|%2[Bb])\s*)?" if number != digits else ""
    return re.compile(plus + _BETWEEN.join(digits))


def _replaced(value: Any, known: Mapping[re.Pattern[str], str]) -> Any:
    """The same with other texts; numbers that are no texts are never one's own."""
    if isinstance(value, str):
        for writings, guarded in known.items():
            # A hash has no backslashes, but a name that is masked might.
            value = writings.sub(guarded.replace("\\", r"\\"), value)
        return value
    if has(type(value)):
        return evolve(
            value,
            **{
                each.name: _replaced(getattr(value, each.name), known)
                for each in fields(type(value))
            },
        )
    if isinstance(value, Mapping):
        return {
            _replaced(name, known): _replaced(each, known)
            for name, each in value.items()
        }
    if isinstance(value, Sequence):
        return tuple(_replaced(each, known) for each in value)
    return value
