"""
The requests of the API under C{/api}.

Each request is one entry, in a module of its own and in the list below: its path, its
schemas, and its function.  Routing and the description at C{/api/openapi.json} both
come from this list.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.http.api.entry import Entry
from chime_gateway.http.api.requests.get_recording import GET_RECORDING
from chime_gateway.http.api.requests.hang_up import HANG_UP
from chime_gateway.http.api.requests.instruct import INSTRUCT
from chime_gateway.http.api.requests.list_agents import LIST_AGENTS
from chime_gateway.http.api.requests.list_calls import LIST_CALLS
from chime_gateway.http.api.requests.listen import LISTEN
from chime_gateway.http.api.requests.originate import ORIGINATE
from chime_gateway.http.api.requests.press_digits import PRESS_DIGITS
from chime_gateway.http.api.requests.record import RECORD
from chime_gateway.http.api.requests.say import SAY
from chime_gateway.http.api.requests.show_call import SHOW_CALL
from chime_gateway.http.api.requests.transfer import TRANSFER

ENTRIES: Final[tuple[Entry, ...]] = (
    LIST_CALLS,
    ORIGINATE,
    SHOW_CALL,
    GET_RECORDING,
    HANG_UP,
    TRANSFER,
    SAY,
    INSTRUCT,
    PRESS_DIGITS,
    RECORD,
    LIST_AGENTS,
    LISTEN,
)
