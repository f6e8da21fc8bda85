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

    def test_it_begins_when_it_is_told_and_all_are_told(self) -> None:
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
        # Once.
        self.ends["older2"].send(GO)
        self.turn()
        self.assertEqual(len(self.log), 1)

    def test_what_it_is_told_before_it_begins_is_known_when_it_does(self) -> None:
        told: list[str] = []
        self.kin.on("sip.", lambda *_: told.append(",".join(self.log)))
        self.arrival.ready()
        self.ends["older2"].send("sip.owned")
        self.ends["older2"].send(GO)
        self.ends["oldest"].send("sip.owned")
        self.turn()
        self.assertEqual(told, ["", "begin"])

    def test_nobody_else_tells_it_to_begin(self) -> None:
        self.arrival.ready()
        self.ends["oldest"].send(GO)
        self.turn()
        self.assertEqual(self.log, [])

    def test_whose_predecessor_is_gone_begins_as_soon_as_it_can(self) -> None:
        """Before it is ready, and after."""
        self.ends["older2"].close()
        self.turn()
        self.assertEqual(self.log, [])
        self.arrival.ready()
        self.assertEqual(self.log, ["begin"])
        self.turn()
        self.assertEqual(set(self.kin.older), {"oldest"})

    def test_whose_predecessor_is_lost_while_it_waits_begins(self) -> None:
        self.arrival.ready()
        self.ends["older2"].close()
        self.turn()
        self.assertEqual(self.log, ["begin"])

    def test_who_was_given_up_does_not_begin(self) -> None:
        """Though nobody is there any more: it finds that before it says anything."""
        self.ends["older2"].send(UNWANTED)
        self.ends["older2"].close()
        self.arrival.ready()
        self.turn()
        self.assertEqual(self.log, ["stop"])

    def test_its_fault_is_told(self) -> None:
        self.arrival.fault("no such port")
        self.turn()
        self.assertEqual(
            self.said["older2"][-1], Message(FAULT, {"why": "no such port"})
        )

    def test_who_is_gone_is_told_of(self) -> None:
        gone: list[str] = []
        self.kin.older_gone.append(lambda peer: gone.append(peer.generation))
        self.arrival.ready()
        self.ends["older2"].send(GO)
        self.turn()
        self.ends["oldest"].close()
        self.turn()
        self.assertEqual((gone, set(self.kin.older)), (["oldest"], {"older2"}))
