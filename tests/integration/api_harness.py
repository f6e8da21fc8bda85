"""A running gateway with its API, its store and calls, for tests of the API."""

from __future__ import annotations

import json
from typing import Any

import treq
from attrs import evolve
from twisted.web.client import HTTPConnectionPool

from chime_gateway.call.tools.transfer_call import TransferCall
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import Target
from chime_gateway.settings.values import (
    GatewaySettings,
    RecordingSettings,
    StoreSettings,
)
from tests.integration.harness import GatewayTestCase, Peer
from tests.support.files import temporary_folder

TOKEN = "admin-token-0123456789"


class ApiTestCase(GatewayTestCase):
    def setUp(self) -> None:
        self.state = temporary_folder(self)
        super().setUp()
        self.pool = HTTPConnectionPool(self.reactor, persistent=False)

    def gateway_settings(self, endpoint: str) -> GatewaySettings:
        settings = super().gateway_settings(endpoint)
        return evolve(
            settings,
            admin_token=TOKEN,
            agents={
                "default": AgentProfile(
                    tools=(TransferCall(),),
                    targets={"office": Target(address="+15559999")},
                )
            },
            store=StoreSettings(
                database_url=f"sqlite:///{self.state}/calls.sqlite",
                state_directory=str(self.state),
                instance="me",
            ),
            recordings=RecordingSettings(location=str(self.state / "recordings")),
        )

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        raw: bytes | None = None,
        **headers: str,
    ) -> tuple[int, Any, Any]:
        """Send a request; return the status, the JSON (or text) and the headers."""
        sent: dict[bytes | str, bytes | str] = {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        response = await treq.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            data=data,
            headers=sent,
            pool=self.pool,
            allow_redirects=False,
        )
        content = await response.content()
        kind = response.headers.getRawHeaders("content-type", [""])[0]
        if "json" in kind:
            content = json.loads(content)
        return response.code, content, response.headers

    async def call(self, *capabilities: str) -> tuple[Peer, str]:
        store = self.gateway.call_storage.store
        assert store is not None
        await self.until(lambda: store.writer.is_open)
        peer = await self.dial()
        parameters = {"from": "+15550001", "to": "+15550002"}
        peer.start(customParameters=parameters, capabilities=list(capabilities))
        await self.until(lambda: self.live_ids() - self.known)
        (call_id,) = self.live_ids() - self.known
        self.known = self.known | {call_id}
        call = self.gateway.calls.call(call_id)
        await self.until(lambda: call.record.answered_seconds is not None)
        return peer, call_id

    known: frozenset[str] = frozenset()

    def live_ids(self) -> frozenset[str]:
        return frozenset(c.record.call_id for c in self.gateway.calls.calls())

    async def stored(self, call_id: str) -> Any:
        """Wait until the call has ended in the store, and return it."""
        while True:
            status, call, _ = await self.ask("GET", f"/api/calls/{call_id}")
            if status == 200 and call["state"] == "ended":
                return call
            await self.pause(0.05)
