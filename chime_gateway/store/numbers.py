"""Telephone numbers as they may be kept: plain, masked, or hashed."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

#: What looks like a telephone number in a text of any kind.
_NUMBER: Final = re.compile(r"\+?\d[\d\s()/-]{5,}\d")

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
        """One number; the same one always becomes the same."""
        if self.how == "plain" or not number:
            return number
        if self.how == "hashed":
            digest = hmac.new(self.key.encode(), number.encode(), hashlib.sha256)
            return "hash:" + digest.hexdigest()[:_HASH_CHARS]
        shown = number[:3] if number.startswith("+") else ""
        hidden = max(0, len(number) - len(shown) - _LEFT)
        return shown + "*" * hidden + number[len(number) - _LEFT :]

    def guard_record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """
        A call's record: its two numbers, wherever they stand, and whatever looks
        like one among what the carrier passed along.
        """
        if self.how == "plain":
            return dict(record)
        guarded = dict(record)
        for name in ("caller", "called"):
            guarded[name] = self.guard(str(record.get(name) or ""))
        parameters = record.get("parameters") or {}
        guarded["parameters"] = {
            name: self._guard_text(str(value)) for name, value in parameters.items()
        }
        transfers = record.get("transfers") or ()
        guarded["transfers"] = [
            {**note, "target": self._guard_text(str(note.get("target", "")))}
            for note in transfers
        ]
        return guarded

    def guard_event(self, data: Mapping[str, Any], own: frozenset[str]) -> Any:
        """Anything: the call's own numbers are replaced where they stand."""
        if self.how == "plain":
            return data
        text = json.dumps(data)
        for number in sorted(own, key=len, reverse=True):
            if len(number) > 4:
                text = text.replace(number, self.guard(number))
        return json.loads(text)

    def _guard_text(self, text: str) -> str:
        return _NUMBER.sub(lambda found: self.guard(found[0]), text)
