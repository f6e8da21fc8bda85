"""Reads members of the service's events, and limits those of any length or form."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

#: Ids have some tens of characters, and names of tools 64; what is kept of each event
#: must not be a message.
Id = Annotated[str, msgspec.Meta(max_length=512)]

#: A member of any form: of a longer one nothing is made, as a list of a million empty
#: objects would hold all calls for 0.2 s.
_MOST_LOOSE_BYTES: Final = 65_536

#: A member that is missing, as it is on the wire.
NOTHING: Final = msgspec.Raw(b"null")


def loose(member: msgspec.Raw) -> Any:
    """What a member says that may have any form; C{None}: too much."""
    text = memoryview(member)
    return None if len(text) > _MOST_LOOSE_BYTES else msgspec.json.decode(text)
