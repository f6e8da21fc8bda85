"""Places outbound calls: through the SIP trunk, or by the SIP media application."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chime_gateway.call.table import CallTable
from chime_gateway.errors import CallRefused, NoOutboundRoute

if TYPE_CHECKING:
    from chime_gateway.carriers.call_control import SmaControl
    from chime_gateway.carriers.sip.carrier import SipCarrier


class Originator:
    """
    Chooses how an outbound call is placed, and places it.

    @ivar sip: C{None}: no SIP.
    @ivar control: C{None}: no SIP media application.
    @param has_trunk: there is a SIP trunk for outbound calls.
    @param from_number: the caller's number of the application's calls; empty: it
        places none.
    """

    def __init__(
        self,
        calls: CallTable,
        *,
        sip: SipCarrier | None,
        control: SmaControl | None,
        has_trunk: bool,
        from_number: str,
    ) -> None:
        self.sip = sip
        self.control = control
        self._calls = calls
        self._has_trunk = has_trunk
        self._from_number = from_number

    async def originate(
        self, to: str, agent: str, via: str, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        """
        Place a call.

        @raise CallRefused: there is no route for it, or no capacity.
        """
        has_trunk = self.sip is not None and self._has_trunk
        if via == "trunk" or (not via and has_trunk):
            return self._by_trunk(to, agent, parameters)
        return await self._by_application(to, agent, parameters)

    def _bound(self, to: str) -> None:
        why = self._calls.destinations.take(to)
        if why:
            raise NoOutboundRoute(why)

    def _by_trunk(
        self, to: str, agent: str, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        if self.sip is None:
            raise NoOutboundRoute("SIP is off: set CHIMEGW_SIP_LISTEN")
        self._bound(to)
        leg = self.sip.dial(to, agent, parameters)
        call_id = next(
            (
                call.record.call_id
                for call in self._calls.calls()
                if call.record.info.carrier_call_id == leg.info.carrier_call_id
            ),
            None,
        )
        return {"call_id": call_id, "via": "trunk", "transaction_id": None}

    async def _by_application(
        self, to: str, agent: str, parameters: Mapping[str, str]
    ) -> dict[str, Any]:
        if self.control is None or not self._from_number:
            raise NoOutboundRoute(
                "there is neither a [sip.trunk] nor a SIP media application: set one"
                " up ([sip.trunk], or CHIMEGW_SMA_ID and [aws] from_number)"
            )
        why = self._calls.refusal()
        if why is not None:
            raise CallRefused(why)
        self._bound(to)
        # Both come back as SIP headers of the call.
        arguments = {"agent": agent}
        if parameters:
            arguments["context"] = json.dumps(parameters)
        transaction_id = await self.control.create_call(
            self._from_number, to, arguments
        )
        return {
            "call_id": None,
            "via": "application",
            "transaction_id": transaction_id,
        }
