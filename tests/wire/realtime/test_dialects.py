from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.wire.realtime.dialects import session_url
from tests.support.realtime_session import deployment


class SessionUrlTests(SynchronousTestCase):
    def test_the_path_selects_the_dialect(self) -> None:
        self.assertEqual(
            session_url(deployment()),
            "wss://res.openai.azure.com/openai/v1/realtime?model=gpt%20realtime",
        )
        self.assertEqual(
            session_url(deployment(api_version="2025-04-01-preview")),
            "wss://res.openai.azure.com/openai/realtime"
            "?api-version=2025-04-01-preview&deployment=gpt%20realtime",
        )

    def test_an_endpoint_may_be_copied_with_its_path(self) -> None:
        for tail in ("/", "/openai", "/openai/v1", "/openai/v1/"):
            endpoint = f"http://127.0.0.1:8090{tail}"
            with self.subTest(endpoint=endpoint):
                url = session_url(deployment(endpoint=endpoint, deployment="x"))
                self.assertEqual(url, "ws://127.0.0.1:8090/openai/v1/realtime?model=x")
