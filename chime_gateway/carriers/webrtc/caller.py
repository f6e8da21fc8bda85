"""
Reads what an offer's HTTP request says about the caller, in its query and headers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import parse_qsl

from chime_gateway.outcomes import CallerInfo

#: The names of the two numbers in a query, as in customParameters of media streams.
_CALLER_NAMES: Final = ("from", "caller", "From")
_CALLED_NAMES: Final = ("to", "called", "To")

#: Credentials, which are not stored.
_SECRET: Final = ("token",)

#: Headers of the caller's side that are stored in the record: no credentials, and no
#: headers of proxies and browsers.
_KEPT_HEADERS: Final = re.compile(
    r"x-(?!gateway-secret\Z|twilio-signature\Z|gw-auth\Z|forwarded|real-ip\Z|amz"
    r"|request-id\Z|requested-with\Z).{1,60}\Z"
)
_MAX_KEPT: Final = 40
_MAX_NAME_CHARS: Final = 64
_MAX_KEPT_CHARS: Final = 2048


def caller_info(
    uri: str, headers: Mapping[str, str], *, carrier_call_id: str, peer: str
) -> CallerInfo:
    """
    Return what the request says about the caller.

    @param uri: path and query.
    @param headers: by lower-case name.
    """
    kept = dict(_bounded((*_query(uri), *_headers(headers))))
    return CallerInfo(
        carrier_call_id=carrier_call_id,
        caller=_first(kept, _CALLER_NAMES),
        called=_first(kept, _CALLED_NAMES),
        agent=kept.get("agent") or kept.get("x-agent", ""),
        peer=peer,
        parameters=kept,
    )


def _query(uri: str) -> Iterator[tuple[str, str]]:
    query = uri.partition("?")[2]
    try:
        pairs = parse_qsl(query, errors="replace", max_num_fields=_MAX_KEPT)
    except ValueError:
        return  # too many fields
    yield from ((name, value) for name, value in pairs if name not in _SECRET)


def _headers(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if _KEPT_HEADERS.match(name):
            # Sent in UTF-8, and decoded as Latin-1.
            yield name, value.encode("latin-1", "replace").decode("utf-8", "replace")


def _bounded(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Return the first value of each name, without unprintable characters."""
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen or len(name) > _MAX_NAME_CHARS or not name.isprintable():
            continue
        if len(seen) >= _MAX_KEPT:
            return
        seen.add(name)
        text = value[:_MAX_KEPT_CHARS]
        yield name, "".join(one for one in text if one.isprintable())


def _first(parameters: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((parameters[name] for name in names if name in parameters), "")
