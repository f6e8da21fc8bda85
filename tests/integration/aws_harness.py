"""A simulated AWS account on loopback, and the settings that lead botocore to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.request import Gateway, InstallationRequest
from chime_gateway.sim.aws.account import Account
from tests.support.base import ReactorTestCase

NUMBER = "+12065550100"


def installation(**changes: Any) -> InstallationRequest:
    """Return a request for an installation with the parts of both modes."""
    wanted: dict[str, Any] = {
        "region": "us-east-1",
        "mode": "kinesis",
        "gateways": (Gateway(host="127.0.0.1", port=5060),),
        "numbers": (NUMBER,),
        "order": (NUMBER,),
        "confirms_order": True,
        "termination_cidrs": ("198.51.100.7/32",),
        "termination_user": "gateway",
        "termination_password": "secret-of-the-trunk",
        "gateway_role": "gateway-machine",
    }
    return InstallationRequest(**{**wanted, **changes})


def droppable(site: Any) -> Callable[[], None]:
    """
    Track the connections of a site, which clients keep open for a while.

    @return: a function that drops them all.
    """
    channels: list[Any] = []
    build = site.buildProtocol

    def built(address: Any) -> Any:
        channels.append(build(address))
        return channels[-1]

    def drop() -> None:
        for channel in channels:
            channel._channel.loseConnection()

    site.buildProtocol = built
    return drop


class AccountTestCase(ReactorTestCase):
    """
    A test with an AWS account.

    @ivar account: new, with nothing but the role of the gateway's machine.
    """

    region = "us-east-1"

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.account = Account(reactor, self.region)
        site = self.account.aws.site()
        self.drop_clients = droppable(site)
        network: Any = reactor
        listening = network.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.port = listening.getHost().port
        self.account.queues.url = f"http://127.0.0.1:{self.port}"
        self.account.iam._create_role(
            {"RoleName": "gateway-machine", "AssumeRolePolicyDocument": TRUST}
        )
        self.environment = self.account.aws.environment(self.port)
        patched = mock.patch.dict(os.environ, self.environment)
        patched.start()
        self.addCleanup(patched.stop)
        self.clouds: list[Cloud] = []
        self.cloud = self.new_cloud()

    def new_cloud(self) -> Cloud:
        cloud = Cloud(self.region, sleep=lambda seconds: None)
        self.clouds.append(cloud)
        return cloud

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        from twisted.internet import reactor

        for cloud in self.clouds:
            cloud.close()
        self.drop_clients()
        await deferLater(reactor, 0.05)

    def run_in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Run blocking work in a thread, because the account is in this process."""
        self.cloud.references.clear()
        return deferToThread(work)


TRUST = '{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}'


def actions(changes: list[Any]) -> set[str]:
    return {change.action for change in changes}


def states(items: list[Any]) -> set[str]:
    """Of a plan."""
    return {item.state for item in items}
