"""A request of the API is one entry: routing, checks and description come from it."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.test.requesthelper import DummyRequest

from chime_gateway.call.routing import Roster
from chime_gateway.http.api import requests
from chime_gateway.http.api.api_request import ApiContext, ApiRequest
from chime_gateway.http.api.entry import Answer, Entry, Reply, act
from chime_gateway.http.api.live_events import LiveEvents
from chime_gateway.http.api.requests import ENTRIES
from chime_gateway.http.api.resource import Api
from chime_gateway.http.api.schema import Schema
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.tools import object_schema
from chime_gateway.store.rows import Whose

TOKEN = "admin-token-0123456789"


async def _wink(asked: ApiRequest) -> Answer:
    return {"call_id": asked.call_id, "done": "*" * asked.body["times"]}


WINK = act(
    "wink",
    "wink",
    "Wink at the caller.",
    Schema("Wink", object_schema(("times",), times={"type": "integer", "maximum": 3})),
    _wink,
)


async def _count(asked: ApiRequest) -> Answer:
    return {"count": asked.query.get("from", 0)}


COUNT = Entry(
    method="GET",
    path="count",
    operation="count",
    summary="Count.",
    run=_count,
    query={"from": {"type": "integer"}},
    reply=Reply(
        description="A number.",
        schema=Schema("Count", object_schema(("count",), count={"type": "integer"})),
    ),
    problems=(401, 403, 422),
)


class _Calls:
    roster = Roster(agents={"default": AgentProfile()})

    def calls(self) -> list[Any]:
        return []

    def call(self, call_id: str) -> Any:
        raise NotImplementedError


class NewEntryTests(SynchronousTestCase):
    def setUp(self) -> None:
        context = ApiContext(
            token=TOKEN,
            whose=Whose("me", "now"),
            calls=_Calls(),
            events=LiveEvents(Clock(), lambda event: {}, lambda: 0.0, lambda: 0.0),
            in_thread=lambda function, *arguments: function(*arguments),
            originate=lambda *arguments: self.fail("nobody is called"),
        )
        self.api = Api(context, (*ENTRIES, WINK, COUNT))

    def ask(
        self, method: str, path: str, body: Any = None, query: str = ""
    ) -> tuple[int, Any, Headers]:
        request: Any = DummyRequest([part.encode() for part in path.split("/")])
        request.method = method.encode()
        request._disconnected = False
        request.args = {
            name.encode(): [value.encode()]
            for name, _, value in (pair.partition("=") for pair in query.split("&"))
            if name
        }
        request.requestHeaders = Headers(
            {"Authorization": [f"Bearer {TOKEN}"], "Content-Type": ["application/json"]}
        )
        request.content = io.BytesIO(json.dumps(body).encode())
        rendered = self.api.render(request)
        written = rendered if isinstance(rendered, bytes) else b"".join(request.written)
        code = request.responseCode or 200
        return code, json.loads(written), request.responseHeaders

    def test_a_new_entry_is_routed_with_its_parameters(self) -> None:
        status, answer, _ = self.ask("POST", "calls/c1/wink", {"times": 2})
        self.assertEqual((status, answer), (200, {"call_id": "c1", "done": "**"}))
        status, answer, _ = self.ask("GET", "count", query="from=7")
        self.assertEqual((status, answer), (200, {"count": 7}))

    def test_a_request_that_does_not_match_is_refused(self) -> None:
        for arguments, status, word in (
            (("POST", "calls/c1/wink", {"times": 4}), 422, "times"),
            (("POST", "calls/c1/wink", {}), 422, "times"),
            (("POST", "calls/a b/wink", {"times": 1}), 404, "id"),
            (("GET", "calls/c1/wink"), 405, "GET"),
            (("GET", "count", None, "to=7"), 422, "'to'"),
            (("GET", "counts"), 404, "openapi"),
        ):
            code, problem, headers = self.ask(*arguments)
            self.assertEqual((code, problem["status"]), (status, status), arguments)
            self.assertIn(word, problem["detail"])
            allowed = headers.getRawHeaders("allow")
            self.assertEqual(allowed, ["POST"] if status == 405 else None)

    def test_a_new_entry_is_described(self) -> None:
        _, described, _ = self.ask("GET", "openapi.json")
        wink = described["paths"]["/api/calls/{call_id}/wink"]["post"]
        self.assertEqual(wink["operationId"], "wink")
        self.assertEqual(wink["parameters"][0]["name"], "call_id")
        schemas = described["components"]["schemas"]
        self.assertEqual(schemas["Wink"]["required"], ["times"])
        self.assertIn("Count", schemas)
        page = described["paths"]["/api/calls"]["get"]["responses"]["200"]
        self.assertIn("wink", page["links"])
        self.assertNotIn("count", page["links"])


class EntriesTests(SynchronousTestCase):
    def test_each_entry_of_a_module_is_listed(self) -> None:
        found = []
        for path in Path(requests.__file__).parent.glob("*.py"):
            if path.stem != "__init__":
                module = importlib.import_module(f"{requests.__name__}.{path.stem}")
                found += [v for v in vars(module).values() if isinstance(v, Entry)]
        self.assertEqual(
            {entry.operation for entry in found}, {entry.operation for entry in ENTRIES}
        )

    def test_paths_and_operations_are_unique(self) -> None:
        reached = {(entry.method, entry.path) for entry in ENTRIES}
        named = {entry.operation for entry in ENTRIES}
        self.assertEqual(len(reached), len(ENTRIES))
        self.assertEqual(len(named), len(ENTRIES))

    def test_schema_names_are_unique(self) -> None:
        by_name: dict[str, Any] = {}
        for entry in ENTRIES:
            for schema in entry.schemas():
                self.assertIs(by_name.setdefault(schema.name, schema), schema)
