"""Reads members of the service's events, and limits their size."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

#: Ids have some tens of characters, and tool names at most 64.  They are kept for each
#: event, so their length is limited.
Id = Annotated[str, msgspec.Meta(max_length=512)]

#: Maximum size of a member of any form that is decoded: a list of a million empty
#: objects would delay all calls by 0.2 s.
_MOST_LOOSE_BYTES: Final = 65_536

#: The raw value that stands for a missing member.
NOTHING: Final = msgspec.Raw(b"null")


def loose(member: msgspec.Raw) -> Any:
    """Decode a member of any form; C{None}: it is too large."""
    text = memoryview(member)
    return None if len(text) > _MOST_LOOSE_BYTES else msgspec.json.decode(text)
