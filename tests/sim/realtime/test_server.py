from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.sim.realtime.server import Door


class DoorTests(SynchronousTestCase):
    def test_the_handshake_is_checked_in_the_services_order(self) -> None:
        door = Door(frozenset({"k"}), frozenset({"d"}), refuse_status=429)
        ga, preview = "/openai/v1/realtime", "/openai/realtime"
        for uri, headers, status in (
            ("/elsewhere", {}, 404),
            (f"{ga}?model=d", {}, 401),
            (f"{ga}?model=d", {"api-key": "wrong"}, 401),
            (f"{ga}?api-version=1&model=d", {"api-key": "k"}, 401),
            (f"{ga}?model=x", {"api-key": "k"}, 404),
            (ga, {"api-key": "k"}, 404),
            (f"{ga}?model=d", {"authorization": "Bearer k"}, 429),
            (f"{preview}?deployment=d", {"api-key": "k"}, 404),
            (f"{preview}?api-version=1&deployment=d", {"api-key": "k"}, 429),
        ):
            with self.subTest(uri=uri, headers=headers):
                self.assertEqual(door.refusal(uri, headers), status)
        self.assertEqual(Door().refusal(f"{ga}?model=d", {"api-key": "any"}), 0)
