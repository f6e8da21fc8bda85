"""
Decides where calls may be sent: by the beginning of an address, and to premium rates
only if they are named.

The Lambda (L{chime_gateway.aws.sma}) contains the same code, so it uses only the
standard library.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote

# -- the same in both files ------------------------------------------------------

#: Numbers that cost the caller more than the call, by ITU-T E.164 and the numbering
#: plans: shared-revenue, premium and personal numbers, international networks and
#: satellites.  No such list is complete; a list of the allowed countries is.
PREMIUM = re.compile(
    r"\+(?:979|87[08]|88[1-3]"
    r"|1(?:900|[2-9][0-9]{2}976)"
    r"|780[39]|20900|2786[2-9]|3090[019]|3190[069]|3290"
    r"|3389|34(?:80[367]|905)|351(?:60|76[0-2])|358[67]00|35990"
    r"|369[01]|37190|372900|380900|381900|38560|38690|39(?:89|199|178|16[46])"
    r"|4090[0369]|4190[016]|420(?:90[069]|976)|421900|43(?:90[01]|93[019])"
    r"|44(?:9|87[1-3]|70)|4590|46(?:900|939|944)|4782|4870"
    r"|49(?:900|190|137)|52900|550?900|61190|64900|651900"
    r"|661900|81990|8260|852900|88620[49]|90900|97219)"
)

#: The same as dialled within a country, as far as they can be recognised.
_LOCAL_PREMIUM = re.compile(r"(?:1?900[0-9]{7}|976[0-9]{4})\Z|0(?:900|190|137)")

#: Prefixes of international calls, dialled before a country code.
_ABROAD = ("0011", "011", "010", "00")

#: Up to this many digits, it is an extension or a short code.
_EXTENSION_DIGITS = 6

#: A country code, and the zero that is dialled within the country: people often write
#: both.  In Italy the zero is part of the number.
_NATIONAL_ZERO = re.compile(
    r"(\+(?:[17]|2[07]|3[0-46]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-689]|3[578]|42|5[09]|6[7-9]|8[0578]|9[679])[0-9]))0(?=[0-9])"
)

_DIGITS = re.compile(r"\+?[0-9*#]+(?:\+[0-9]+)?\Z")
_CONTEXT = re.compile(r";phone-context=(\+[0-9().-]+)", re.IGNORECASE)
_SIP = re.compile(r"(sips?):([^@]*)(?:@(.*))?\Z", re.IGNORECASE | re.DOTALL)
_TEL = re.compile(r"tel:", re.IGNORECASE)
_HOST = re.compile(
    r"([^;?]*?)(?:;(?:transport|user)=[a-z]+)*\Z", re.IGNORECASE | re.DOTALL
)
_ENTRY = re.compile(
    r"\+|(?:tel:)?\+?[0-9]{1,15}|sips?:[^\s@;?:,]*(?:@[^\s@;?,]+)?", re.IGNORECASE
)
_LONGEST_ADDRESS = 300


def is_destination_prefix(text: str) -> bool:
    """Whether it is a valid entry of a list of allowed destinations."""
    return _ENTRY.fullmatch(text) is not None


def destination_fault(address: str, allow: Sequence[str]) -> str:
    """
    Return why no call may be sent to an address; empty if one may.

    @param address: a number in any notation, or a C{sip}, C{sips} or C{tel} URI.
    @param allow: beginnings of addresses (C{+49}, C{sip:}, C{sip:1}), or addresses
        (C{sip:office@pbx.example}; C{sip:@pbx.example}: all of that host); empty: all
        except premium rates, which must be named (C{+1900}).
    """
    if len(address) > _LONGEST_ADDRESS:
        return "the address is too long"
    uri = _SIP.match(address)
    user = uri[2] if uri else _TEL.sub("", address, count=1)
    readings = _readings(user)
    covering = [entry for entry in allow if _covers(entry, address, readings)]
    if any(PREMIUM.match(n) or _LOCAL_PREMIUM.match(n) for n in readings):
        if not any(_names_premium(entry) for entry in covering):
            return "a premium rate is not called unless the list names it"
    elif allow and not covering:
        return "the list of allowed destinations does not have it"
    return ""


def _names_premium(entry: str) -> bool:
    uri = _SIP.match(entry)
    numbers = _readings(uri[2] if uri else _TEL.sub("", entry, count=1))
    return any(PREMIUM.match(n) or _LOCAL_PREMIUM.match(n) for n in numbers)


def _readings(user: str) -> list[str]:
    """
    Return the numbers as which a network may read it, the likeliest first; none if it
    is a name.
    """
    context = _CONTEXT.search(unquote(user))
    digits = _unseparated(unquote(user.partition(":")[0]).partition(";")[0])
    if not _DIGITS.match(digits):
        return []
    found = []
    # A service code (*67, *31#) may be followed by another number.
    for part in re.split(r"[*#]|(?=\+)", digits):
        found += _abroad(part)
        if "*" in digits or "#" in digits:
            found += _abroad(part[2:])
    if context is not None:
        found.append(_unseparated(context[1]) + digits.lstrip("+"))
    zeros = [_NATIONAL_ZERO.match(number) for number in found]
    found += [zero[1] + zero.string[zero.end() :] for zero in zeros if zero]
    return found or [digits]


def _unseparated(text: str) -> str:
    """Remove all visual separators, and use ASCII digits."""
    plain = unicodedata.normalize("NFKC", text)
    kept = (
        character for character in plain if character.isalnum() or character in "+*#"
    )
    return "".join(str(unicodedata.decimal(one, one)) for one in kept)


def _abroad(digits: str) -> list[str]:
    if not digits:
        return []
    if digits.startswith("+"):
        return [digits]
    found = [f"+{digits[len(p) :]}" for p in _ABROAD if digits.startswith(p)]
    if not found and len(digits) >= 10:
        # Some trunks assume the plus.
        return [digits, f"+{digits}"]
    return [*found, digits]


def _covers(entry: str, address: str, readings: Sequence[str]) -> bool:
    uri, named = _SIP.match(address), _SIP.match(entry)
    if named is None:
        prefix = _TEL.sub("", entry, count=1)
        if uri is not None and uri[3] is not None:
            return False  # the host may be any host
        return bool(readings) and readings[0].startswith(prefix)
    if uri is None or (named[1].lower() == "sips" != uri[1].lower()):
        return False
    if named[3] is not None:
        host = None if uri[3] is None else _HOST.match(uri[3])
        return (
            host is not None
            and _is_host(host[1], named[3])
            and named[2] in ("", uri[2])
        )
    if named[2]:
        return (readings[0] if readings else unquote(uri[2])).startswith(named[2])
    # All addresses except telephone numbers, which need other entries.
    return not readings or (
        readings[0].isdecimal() and len(readings[0]) <= _EXTENSION_DIGITS
    )


def _is_host(given: str, allowed: str) -> bool:
    given, allowed = given.lower(), allowed.lower()
    if given == allowed:
        return True
    host, colon, port = given.rpartition(":")
    return bool(colon) and host == allowed and port.isdecimal()


# -- until here ------------------------------------------------------------------
