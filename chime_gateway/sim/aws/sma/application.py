"""
Simulates a SIP media application on loopback, whose calls a Lambda controls.

The Lambda is the real one, invoked with the events that AWS would send.  Other modules
simulate the callers and the other ends of bridges.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from chime_gateway.sim.aws.protocol import Fault
from chime_gateway.sim.aws.sma.call import Bridge, Function, SmaCall
from chime_gateway.sim.aws.sma.participants import Leg, Phone

#: The time from the request of an update to its event.
_UPDATE_SECONDS: Final = 0.05


class SmaSimulator:
    """
    The application.

    @param function: the Lambda: takes an event and returns the response, now or later.
    @param fetch: returns a file of S3.
    @param owned: the account's telephone numbers.
    @ivar calls: all calls by transaction id, including those that are over.
    @ivar dialled: returns the telephone of an outbound call.
    """

    def __init__(
        self,
        function: Function,
        clock: IReactorTime,
        *,
        fetch: Callable[[str, str], bytes | None],
        bridge: Bridge,
        owned: frozenset[str],
    ) -> None:
        self.application_id = str(uuid.uuid4())
        self.function = function
        self.clock = clock
        self.fetch = fetch
        self.bridge = bridge
        self.owned = owned
        self.calls: dict[str, SmaCall] = {}
        self.dialled: Callable[[SmaCall], Phone] | None = None

    def operations(self) -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        return {
            "UpdateSipMediaApplicationCall": self._update,
            "CreateSipMediaApplicationCall": self._create,
        }

    def incoming(
        self, from_number: str, to_number: str, phone: Phone, headers: Mapping[str, str]
    ) -> SmaCall:
        """Begin a call to the application's number."""
        leg = Leg("LEG-A", to_number, from_number, "Inbound", headers=headers)
        call = SmaCall(self, leg, phone)
        self.calls[call.transaction_id] = call
        self.clock.callLater(0, call.happened, "NEW_INBOUND_CALL")
        return call

    def _update(self, parameters: Mapping[str, Any]) -> Any:
        call = self.calls.get(parameters["TransactionId"])
        if call is None or call.is_over:
            raise Fault("NotFoundException", "The transaction is not found", 404)
        if parameters["SipMediaApplicationId"] != self.application_id:
            raise Fault("NotFoundException", "The application is not found", 404)
        arguments = dict(parameters["Arguments"])
        self.clock.callLater(_UPDATE_SECONDS, call.update, arguments)
        transaction = {"TransactionId": call.transaction_id}
        return {"SipMediaApplicationCall": transaction}

    def _create(self, parameters: Mapping[str, Any]) -> Any:
        from_number = parameters["FromPhoneNumber"]
        if from_number not in self.owned:
            raise Fault("BadRequestException", "FromPhoneNumber is not owned")
        leg = Leg("LEG-A", parameters["ToPhoneNumber"], from_number, "Outbound")
        assert self.dialled is not None
        call = SmaCall(self, leg, None)
        self.calls[call.transaction_id] = call
        call.phone = self.dialled(call)
        arguments = {"Arguments": dict(parameters.get("ArgumentsMap", {}))}
        call.happened("NEW_OUTBOUND_CALL", {"Type": "Call", "Parameters": arguments})
        return {"SipMediaApplicationCall": {"TransactionId": call.transaction_id}}
