"""Destinations of outbound calls."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.originate import Originator
from chime_gateway.call.destinations import Destinations
from chime_gateway.errors import NoOutboundRoute
from chime_gateway.settings.values import TransferSettings


class Calls:
    def __init__(self, bounds: TransferSettings) -> None:
        self.destinations = Destinations(bounds, Clock().seconds)

    def refusal(self) -> None:
        return None


class Control:
    def __init__(self) -> None:
        self.called: list[str] = []

    async def create_call(self, from_number: str, to: str, arguments: Any) -> str:
        self.called.append(to)
        return "transaction"


class Dialled(Exception):
    """The trunk was asked."""


class Trunk:
    def dial(self, to: str, agent: str, parameters: Any) -> Any:
        raise Dialled(to)


class OriginatorTests(SynchronousTestCase):
    def place(self, to: str, via: str, bounds: TransferSettings) -> Deferred[Any]:
        self.control = Control()
        calls: Any = Calls(bounds)
        trunk: Any = Trunk()
        control: Any = self.control
        originator = Originator(
            calls,
            sip=trunk,
            control=control,
            has_trunk=True,
            from_number="+12065550100",
        )
        return Deferred.fromCoroutine(originator.originate(to, "default", via, {}))

    def test_neither_route_allows_a_forbidden_destination(self) -> None:
        for via in ("trunk", "application", ""):
            for to, bounds in (
                ("+19005551234", TransferSettings()),
                ("0019005551234", TransferSettings()),
                ("+442071234", TransferSettings(allow=("+49",))),
            ):
                failure = self.failureResultOf(
                    self.place(to, via, bounds), NoOutboundRoute
                )
                self.assertIn("[transfer] allow", failure.getErrorMessage())
                self.assertEqual(self.control.called, [])

    def test_both_routes_allow_all_other_destinations(self) -> None:
        bounds = TransferSettings(allow=("+44",))
        self.failureResultOf(self.place("+442071234", "trunk", bounds), Dialled)
        self.successResultOf(self.place("+442071234", "application", bounds))
        self.assertEqual(self.control.called, ["+442071234"])
