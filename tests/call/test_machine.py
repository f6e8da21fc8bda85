from __future__ import annotations

from typing import Any

from automat import NoTransition
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.call.machine import CallInputs, new_machine
from chime_gateway.outcomes import Ending, Outcome
from tests.support.fakes import Log, RecordingAgent

ENDING = Ending(Outcome.COMPLETED, "why")
OTHER = Ending(Outcome.IDLE, "another reason")


class World:
    """Records the effects of a call in a list."""

    def __init__(self) -> None:
        self.log: Log = []

    def join(self, agent: Any) -> None:
        self.log.append(("join",))

    def say_goodbye(self, ending: Ending) -> None:
        self.log.append(("say_goodbye", ending))

    def play_out(self, ending: Ending | None) -> None:
        self.log.append(("play_out", ending))

    def end(self, ending: Ending | None, *, hang_up_leg: bool) -> None:
        self.log.append(("end", ending, hang_up_leg))

    def discard(self, agent: Any) -> None:
        self.log.append(("discard",))


AGENT = RecordingAgent([])


def ready(call: CallInputs) -> None:
    call.agent_ready(AGENT)


def lost(call: CallInputs) -> None:
    call.agent_lost(ENDING)


def left(call: CallInputs) -> None:
    call.leg_ended(ENDING)


def hang_up(call: CallInputs) -> None:
    call.hang_up(ENDING)


def part(call: CallInputs) -> None:
    call.part(ENDING)


def leave(call: CallInputs) -> None:
    call.leave(ENDING)


def said(call: CallInputs) -> None:
    call.goodbye_said()


def played(call: CallInputs) -> None:
    call.played_out()


#: state -> the inputs that lead to it.
PATHS: dict[str, list[Any]] = {
    "connecting": [],
    "talking": [ready],
    "parting": [ready, part],
    "finishing": [ready, lost],
    "ended": [hang_up],
}
KEEP, LET_GO = ("end", ENDING, True), ("end", ENDING, False)
OLD_KEEP, OLD_LET_GO = ("end", None, True), ("end", None, False)

#: (state, input) -> effects.  Pairs left out cannot happen: a bug if they do.
TABLE: dict[tuple[str, Any], list[tuple[Any, ...]]] = {
    ("connecting", ready): [("join",)],
    ("connecting", lost): [KEEP],
    ("connecting", left): [LET_GO],
    ("connecting", hang_up): [KEEP],
    ("connecting", part): [KEEP],
    ("connecting", leave): [("play_out", ENDING)],
    ("talking", lost): [("play_out", ENDING)],
    ("talking", left): [LET_GO],
    ("talking", hang_up): [KEEP],
    ("talking", part): [("say_goodbye", ENDING)],
    ("talking", leave): [("play_out", ENDING)],
    ("parting", lost): [("play_out", None)],
    ("parting", left): [OLD_LET_GO],
    ("parting", hang_up): [KEEP],
    ("parting", part): [],
    ("parting", leave): [("play_out", None)],
    ("parting", said): [("play_out", None)],
    ("finishing", lost): [],
    ("finishing", left): [OLD_LET_GO],
    ("finishing", hang_up): [KEEP],
    ("finishing", ready): [("discard",)],
    ("finishing", part): [],
    ("finishing", leave): [],
    ("finishing", said): [],
    ("finishing", played): [OLD_KEEP],
    ("ended", ready): [("discard",)],
    ("ended", lost): [],
    ("ended", left): [],
    ("ended", hang_up): [],
    ("ended", part): [],
    ("ended", leave): [],
}
INPUTS = (ready, lost, left, hang_up, part, leave, said, played)


class MachineTests(SynchronousTestCase):
    def test_every_pair_of_state_and_input(self) -> None:
        for state, path in PATHS.items():
            for act in INPUTS:
                with self.subTest(state=state, input=act.__name__):
                    world = World()
                    call = new_machine(world)
                    for step in path:
                        step(call)
                    world.log.clear()
                    expected = TABLE.get((state, act))
                    if expected is None:
                        self.assertRaises(NoTransition, act, call)
                    else:
                        act(call)
                        self.assertEqual(world.log, expected)
