"""
The built-in tools of an agent.

Each is a module of this package, with its description for the model and its code, and
an entry in the list below.
"""

from __future__ import annotations

from typing import Final

from chime_gateway.call.tools.call_tool import CallTool
from chime_gateway.call.tools.collect_digits import CollectDigits
from chime_gateway.call.tools.end_call import EndCall
from chime_gateway.call.tools.send_digits import SendDigits
from chime_gateway.call.tools.transfer_call import TransferCall

BUILT_IN_TOOLS: Final[tuple[CallTool, ...]] = (
    EndCall(),
    TransferCall(),
    SendDigits(),
    CollectDigits(),
)
