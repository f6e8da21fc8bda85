from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.app.takeover.arrival import Arrival
from chime_gateway.app.takeover.succession import (
    FAULT,
    GO,
    HELLO,
    NEWEST,
    READY,
    TAKEN,
    UNWANTED,
)
from chime_gateway.net.generations.channel import Channel, Message, pair
from chime_gateway.net.generations.inheritance import Elder, Inheritance
from chime_gateway.net.generations.kin import Kin
from tests.net.generations.test_kin import ClockTurns


class ArrivalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns: Any = ClockTurns()
        self.log: list[str] = []
        self.said: dict[str, list[Message]] = {"older2": [], "oldest": []}
        self.ends = {}
        elders = []
        for generation, said in self.said.items():
            ours, theirs = pair()
            channel = Channel(ours, self.turns, said.append, lambda: None)
            channel.start()
            self.addCleanup(channel.close)
            self.ends[generation] = channel
            elders.append(Elder(generation, 7, theirs.detach()))
        self.kin = Kin("newer2", self.turns)
        self.addCleanup(self.kin.close)
        inheritance = Inheritance("newer2", elders[0], elders[1:])
        self.arrival = Arrival(
            inheritance, self.kin, self.begin, lambda: self.log.append("stop")
        )
        self.arrival.start()
        self.turn()

    def begin(self, is_old: bool) -> None:
        self.log.append("begin, old settings" if is_old else "begin")

    def turn(self) -> None:
        self.turns.take(3)

    def kinds(self, generation: str = "older2") -> list[str]:
        return [message.kind for message in self.said[generation]]

    def test_it_begins_on_the_order_and_informs_all_processes(self) -> None:
        self.arrival.ready()
        self.turn()
        self.assertEqual(self.kinds(), [HELLO, READY])
        self.assertEqual(self.log, [])
        self.ends["older2"].send(GO, {"reload": True})
        self.turn()
        self.assertEqual(self.log, ["begin, old settings"])
        self.assertEqual(self.kinds(), [HELLO, READY, TAKEN])
        me = {"generation": "newer2", "pid": os.getpid()}
        self.assertEqual(self.said["oldest"], [Message(NEWEST, me)])
        self.assertEqual(set(self.kin.older), {"older2", "oldest"})
        # It begins only once.
        self.ends["older2"].send(GO)
        self.turn()
        self.assertEqual(len(self.log), 1)

    def test_messages_before_the_order_are_known_when_it_begins(self) -> None:
        told: list[str] = []
        self.kin.on("sip.", lambda *_: told.append(",".join(self.log)))
        self.arrival.ready()
        self.ends["older2"].send("sip.owned")
        self.ends["older2"].send(GO)
        self.ends["oldest"].send("sip.owned")
        self.turn()
        self.assertEqual(told, ["", "begin"])

    def test_only_the_predecessor_can_order_it_to_begin(self) -> None:
        self.arrival.ready()
        self.ends["oldest"].send(GO)
        self.turn()
        self.assertEqual(self.log, [])

    def test_if_the_predecessor_is_gone_it_begins_when_it_is_ready(self) -> None:
        """It begins only when it is ready."""
        self.ends["older2"].close()
        self.turn()
        self.assertEqual(self.log, [])
        self.arrival.ready()
        self.assertEqual(self.log, ["begin"])
        self.turn()
        self.assertEqual(set(self.kin.older), {"oldest"})

    def test_if_the_predecessor_is_lost_while_it_waits_it_begins(self) -> None:
        self.arrival.ready()
        self.ends["older2"].close()
        self.turn()
        self.assertEqual(self.log, ["begin"])

    def test_an_abandoned_successor_does_not_begin(self) -> None:
        """Not even if the predecessor is gone: it reads its messages first."""
        self.ends["older2"].send(UNWANTED)
        self.ends["older2"].close()
        self.arrival.ready()
        self.turn()
        self.assertEqual(self.log, ["stop"])

    def test_its_fault_is_reported_to_the_predecessor(self) -> None:
        self.arrival.fault("no such port")
        self.turn()
        self.assertEqual(
            self.said["older2"][-1], Message(FAULT, {"why": "no such port"})
        )

    def test_the_end_of_an_older_process_is_reported(self) -> None:
        gone: list[str] = []
        self.kin.older_gone.append(lambda peer: gone.append(peer.generation))
        self.arrival.ready()
        self.ends["older2"].send(GO)
        self.turn()
        self.ends["oldest"].close()
        self.turn()
        self.assertEqual((gone, set(self.kin.older)), (["oldest"], {"older2"}))
