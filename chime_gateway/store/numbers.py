"""
Masks or hashes telephone numbers in everything about a call that leaves the program:
events, records, rows, webhooks, the API's answers about live calls, log lines.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from attrs import evolve, field, fields, frozen, has

from chime_gateway.call.conversation.transcript import Speaker
from chime_gateway.call.reports.events import (
    CallAnswered,
    CallEnded,
    CallEvent,
    CallFacts,
    CallStarted,
    CallTransferFailed,
    CallTransferring,
    LiveCall,
    Payload,
    ToolCalled,
    ToolFacts,
    TransferFacts,
    TurnCompleted,
    TurnFacts,
)
from chime_gateway.settings.telephone import is_number, normalised, numbers_in

#: A hash, which must not be taken for a number because of its digits.
_HASH: Final = r"hash:[0-9a-f]{24}"

#: Certainly a telephone number, in any text.
_CERTAIN: Final = re.compile(_HASH + r"|(?:\+|%2[Bb])\s*\d[\d\s().\-/]{5,}\d")

#: Probably a telephone number, in a text where one is likely.
_LIKELY: Final = re.compile(
    _HASH + r"|(?:\+|%2[Bb])\s*\d[\d\s().\-/]{5,}\d|\d[\d\s()/-]{5,}\d"
)

#: Separators that may be between its digits.
_BETWEEN: Final = "[\\s().\\-/\u2010\u2011]*"

#: The number of digits at the end that masking leaves.
_LEFT: Final = 2
_HASH_CHARS: Final = 24

#: Shorter numbers could also be house numbers or times of day.
_SHORTEST: Final = 5

#: A number is also recognised without its country code, which has at most three digits.
_COUNTRY_DIGITS: Final = 3
_SHORTEST_NATIONAL: Final = 7

#: Not names of people: some callers send these, and every transcript has them.
_SPEAKERS: Final = frozenset(speaker.value for speaker in Speaker)

#: Fields with words of the gateway and of its settings only.  A caller's name can be
#: one of these words.
_OWN_FIELDS: Final = (
    *("call_id", "carrier", "direction", "agent_profile", "codec", "outcome"),
    *("frames_dropped", "tokens", "recording"),
)

_Guard: TypeAlias = Callable[[str], str]


@frozen
class NumberGuard:
    """
    Replaces numbers.

    @ivar how: C{plain}, C{masked} or C{hashed}.
    @ivar key: the key of the hash.
    """

    how: str = "plain"
    key: str = field(default="", repr=False)

    def guard(self, number: str) -> str:
        """Return the replacement of a number; it does not depend on the notation."""
        number = normalised(number)
        if self.how == "plain" or not number:
            return number
        if self.how == "hashed":
            digest = hmac.new(self.key.encode(), number.encode(), hashlib.sha256)
            return "hash:" + digest.hexdigest()[:_HASH_CHARS]
        shown = number[:3] if number.startswith("+") else ""
        hidden = max(0, len(number) - len(shown) - _LEFT)
        return shown + "*" * hidden + number[len(number) - _LEFT :]

    def guard_record(
        self, call: CallFacts, own: frozenset[str] = frozenset()
    ) -> CallFacts:
        """Guard a call's record: its two numbers, and all numbers in other fields."""
        if self.how == "plain":
            return call
        known = self._known(own | own_numbers(call))
        likely = self._texts(known, _LIKELY)
        rest = evolve(
            call,
            caller="",
            called="",
            parameters={
                likely(name): likely(value) for name, value in call.parameters.items()
            },
            transfers=tuple(self._transfer(each, likely) for each in call.transfers),
        )
        guarded: CallFacts = _replaced(rest, self._texts(known, _CERTAIN))
        return evolve(
            guarded,
            caller=self.guard(call.caller),
            called=self.guard(call.called),
            **{name: getattr(call, name) for name in _OWN_FIELDS},
        )

    def guard_payload(
        self, payload: Payload, own: frozenset[str] = frozenset()
    ) -> Payload:
        """
        Guard the payload of an event.

        @param own: the call's numbers that are not in C{payload}.
        """
        if self.how == "plain":
            return payload
        known = self._known(own | _named_in(payload))
        likely, certain = self._texts(known, _LIKELY), self._texts(known, _CERTAIN)
        match payload:
            case CallStarted(call) | CallAnswered(call):
                return evolve(payload, call=self.guard_record(call, own))
            case CallEnded(call, transcript):
                return CallEnded(
                    self.guard_record(call, own),
                    tuple(_turn(turn, certain, likely) for turn in transcript),
                )
            case CallTransferring(transfer) | CallTransferFailed(transfer):
                guarded = self._transfer(transfer, likely)
                return evolve(payload, transfer=_replaced(guarded, certain))
            case ToolCalled(tool):
                return ToolCalled(_tool(tool, certain, likely))
            case TurnCompleted(turn):
                return TurnCompleted(_turn(turn, certain, likely))
        return payload

    def guard_live(self, live: LiveCall) -> LiveCall:
        """Guard the snapshot of a call in progress."""
        if self.how == "plain":
            return live
        known = self._known(own_numbers(live.call))
        likely, certain = self._texts(known, _LIKELY), self._texts(known, _CERTAIN)
        return evolve(
            live,
            call=self.guard_record(live.call),
            transcript=tuple(_turn(turn, certain, likely) for turn in live.transcript),
        )

    # -- texts -------------------------------------------------------------------------

    def _known(self, numbers: frozenset[str]) -> Mapping[re.Pattern[str], str]:
        """Return the replacements of numbers, the longest number first."""
        longest_first = sorted(numbers, key=lambda number: (-len(number), number))
        return {_writings(number): self.guard(number) for number in longest_first}

    def _texts(
        self, known: Mapping[re.Pattern[str], str], others: re.Pattern[str]
    ) -> _Guard:
        def guard_other(found: re.Match[str]) -> str:
            text = found[0]
            return text if text.startswith("hash:") else self.guard(text)

        def guard_text(text: str) -> str:
            for writings, guarded in known.items():
                text = writings.sub(lambda _, guarded=guarded: guarded, text)  # type: ignore[misc]
            return others.sub(guard_other, text)

        return guard_text

    @staticmethod
    def _transfer(transfer: TransferFacts, likely: _Guard) -> TransferFacts:
        return evolve(
            transfer, target=likely(transfer.target), reason=likely(transfer.reason)
        )


class CallNumbers:
    """
    The numbers of calls in progress, which may appear in any event of their call.

    It needs every event, in order.
    """

    def __init__(self, guard: NumberGuard) -> None:
        self._guard = guard
        self._own: dict[str, frozenset[str]] = {}

    def __len__(self) -> int:
        """The number of calls in progress."""
        return len(self._own)

    def shown(self, event: CallEvent) -> Payload:
        """Return the payload of an event, with numbers guarded."""
        payload = event.payload
        if self._guard.how == "plain":
            return payload
        own = self._own.get(event.call_id, frozenset()) | _named_in(payload)
        self._own[event.call_id] = own
        if isinstance(payload, CallEnded):
            del self._own[event.call_id]
        return self._guard.guard_payload(payload, own)


def own_numbers(call: CallFacts) -> frozenset[str]:
    """Return all numbers in a call's record."""
    found = {call.caller, call.called}
    for value in call.parameters.values():
        found.update(numbers_in(value))
    for transfer in call.transfers:
        found.update(numbers_in(transfer.target))
    return frozenset(
        number
        for number in map(normalised, found)
        if len(number) >= _SHORTEST and number not in _SPEAKERS
    )


def _named_in(payload: Payload) -> frozenset[str]:
    match payload:
        case CallStarted(call) | CallAnswered(call) | CallEnded(call, _):
            return own_numbers(call)
        case CallTransferring(transfer) | CallTransferFailed(transfer):
            found = numbers_in(transfer.target)
            return frozenset(n for n in found if len(n) >= _SHORTEST)
    return frozenset()


def _writings(number: str) -> re.Pattern[str]:
    """Return a pattern of all notations of a number; other texts match literally."""
    digits = number.removeprefix("+")
    if not is_number(number):
        return re.compile(re.escape(number))
    writings = [_BETWEEN.join(digits), "".join(f"3{digit}" for digit in digits)]
    if number != digits:
        writings[0] = r"(?:(?:\+|%2[Bb]|00)\s*)?" + writings[0]
        # User-to-User (RFC 7433) encodes texts as hexadecimal octets.
        writings[1] = "(?:2[Bb])?" + writings[1]
        national = digits[_COUNTRY_DIGITS:]
        if len(national) >= _SHORTEST_NATIONAL:
            before = rf"(?<!\d)(?:\d{_BETWEEN}){{0,{_COUNTRY_DIGITS + 1}}}"
            writings.append(before + _BETWEEN.join(national) + r"(?!\d)")
    return re.compile("|".join(writings))


def _turn(turn: TurnFacts, certain: _Guard, likely: _Guard) -> TurnFacts:
    tool = turn.tool and _tool(turn.tool, certain, likely)
    rest: TurnFacts = _replaced(evolve(turn, tool=None), certain)
    return evolve(rest, speaker=turn.speaker, tool=tool)


def _tool(tool: ToolFacts, certain: _Guard, likely: _Guard) -> ToolFacts:
    return evolve(
        tool,
        name=certain(tool.name),
        arguments=_in_json(tool.arguments, likely),
        result=_in_json(tool.result, likely),
        fault=likely(tool.fault),
    )


def _in_json(text: str, guard_text: _Guard) -> str:
    """Guard a JSON document, where a number may be escaped, or not be a string."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return guard_text(text)
    guarded = _in_document(document, guard_text)
    return text if guarded == document else json.dumps(guarded, ensure_ascii=False)


def _in_document(value: object, guard_text: _Guard) -> Any:
    if isinstance(value, str):
        return guard_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        guarded = guard_text(str(value))
        return value if guarded == str(value) else guarded
    if isinstance(value, list):
        return [_in_document(each, guard_text) for each in value]
    if isinstance(value, dict):
        return {
            guard_text(name): _in_document(each, guard_text)
            for name, each in value.items()
        }
    return value


def _replaced(value: Any, guard_text: _Guard) -> Any:
    """Replace all texts in a value; telephone numbers in it are always texts."""
    if isinstance(value, str):
        return guard_text(value)
    if has(type(value)):
        return evolve(
            value,
            **{
                each.name: _replaced(getattr(value, each.name), guard_text)
                for each in fields(type(value))
            },
        )
    if isinstance(value, Mapping):
        return {
            _replaced(name, guard_text): _replaced(each, guard_text)
            for name, each in value.items()
        }
    if isinstance(value, Sequence):
        return tuple(_replaced(each, guard_text) for each in value)
    return value
