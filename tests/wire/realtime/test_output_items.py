from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.realtime.events import (
    Event,
    McpBegan,
    McpCalled,
    McpOver,
    Unrecognized,
)
from chime_gateway.wire.realtime.reader import READERS


class OutputItemTests(SynchronousTestCase):
    def receive(self, kind: str, **members: object) -> Event:
        payload = json.dumps({"type": kind, **members}).encode()
        return READERS["ga"].receive(payload, False)

    def item(self, kind: str, **members: object) -> Event:
        item = {"type": "mcp_call", "id": "m", "server_label": "crm", "name": "find"}
        return self.receive(f"response.output_item.{kind}", item={**item, **members})

    def test_an_mcp_call_is_reported_from_its_start_to_its_result(self) -> None:
        self.assertEqual(self.item("added"), McpBegan("m", "crm.find"))
        for kind, event in (
            ("in_progress", McpBegan("m", "")),
            ("completed", McpOver("m", has_failed=False)),
            ("failed", McpOver("m", has_failed=True)),
        ):
            self.assertEqual(
                self.receive(f"response.mcp_call.{kind}", item_id="m"), event
            )
        for members, fault, has_result in (
            ({"output": None, "error": None}, "", False),
            ({"output": "[]"}, "", True),
            ({"error": {"type": "http_error"}}, '{"type":"http_error"}', True),
        ):
            done = self.item("done", **members)
            assert isinstance(done, McpCalled)
            self.assertEqual(done.fault.replace(" ", ""), fault)
            self.assertEqual((done.name, done.item_id), ("crm.find", "m"))
            self.assertEqual(done.has_result, has_result)

    def test_other_items_are_ignored(self) -> None:
        """A message may have a C{phase}, which is ignored."""
        for kind in ("added", "done"):
            name = f"response.output_item.{kind}"
            event = self.item(kind, type="message", phase="commentary")
            self.assertEqual(event, Unrecognized(name))
            self.assertEqual(self.item(kind, name=None), Unrecognized(name))
