"""
The life of one call, as a state machine.

Inputs are named after an event, in the past tense, or after a request, as an
imperative; L{CallEffects} carries out the outputs.  An input that a state does not list
raises L{automat.NoTransition}: that is a bug, and a test walks the whole table.  Audio
never passes through the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from automat import TypeMachineBuilder

from chime_gateway.interfaces import AgentLine
from chime_gateway.outcomes import Ending


class CallInputs(Protocol):
    """The inputs: what may happen to a call."""

    def agent_ready(self, agent: AgentLine) -> None:
        """A session is open and configured."""

    def agent_lost(self, ending: Ending) -> None:
        """No session could be opened, or it broke."""

    def leg_ended(self, ending: Ending) -> None:
        """The caller's leg has ended."""

    def hang_up(self, ending: Ending) -> None:
        """End the call now."""

    def part(self, ending: Ending) -> None:
        """End the call politely: the agent says goodbye first."""

    def leave(self, ending: Ending) -> None:
        """End the call once everything said so far has been heard; say nothing more."""

    def goodbye_said(self) -> None:
        """The agent has finished its last words, or has taken too long."""

    def played_out(self) -> None:
        """The caller has heard everything that was queued, or it took too long."""


class CallEffects(Protocol):
    """The outputs: what a call does."""

    def join(self, agent: AgentLine) -> None:
        """Answer the leg and connect the audio."""

    def say_goodbye(self, ending: Ending) -> None:
        """Ask the agent for its last words; L{CallInputs.goodbye_said} follows."""

    def play_out(self, ending: Ending | None) -> None:
        """Accept no more audio; L{CallInputs.played_out} follows."""

    def end(self, ending: Ending | None, *, hang_up_leg: bool) -> None:
        """
        Release everything and close the record.

        @param ending: C{None}: the one given before is kept.
        """

    def discard(self, agent: AgentLine) -> None:
        """Close a line that opened too late."""


def _build() -> Callable[[CallEffects], CallInputs]:
    # Automat's types ask for a class, but a protocol works as well.
    machine = TypeMachineBuilder(CallInputs, CallEffects)  # type: ignore[type-abstract]

    connecting = machine.state("connecting")
    talking = machine.state("talking")
    parting = machine.state("parting")
    finishing = machine.state("finishing")
    ended = machine.state("ended")

    @connecting.upon(CallInputs.agent_ready).to(talking)
    def join(call: CallInputs, world: CallEffects, agent: AgentLine) -> None:
        world.join(agent)

    @connecting.upon(CallInputs.agent_lost).to(ended)
    @connecting.upon(CallInputs.hang_up).to(ended)
    @connecting.upon(CallInputs.part).to(ended)
    @talking.upon(CallInputs.hang_up).to(ended)
    @parting.upon(CallInputs.hang_up).to(ended)
    @finishing.upon(CallInputs.hang_up).to(ended)
    def hang_up(call: CallInputs, world: CallEffects, ending: Ending) -> None:
        world.end(ending, hang_up_leg=True)

    @connecting.upon(CallInputs.leg_ended).to(ended)
    @talking.upon(CallInputs.leg_ended).to(ended)
    def release(call: CallInputs, world: CallEffects, ending: Ending) -> None:
        world.end(ending, hang_up_leg=False)

    @talking.upon(CallInputs.part).to(parting)
    def part(call: CallInputs, world: CallEffects, ending: Ending) -> None:
        world.say_goodbye(ending)

    @connecting.upon(CallInputs.leave).to(finishing)
    @talking.upon(CallInputs.leave).to(finishing)
    @talking.upon(CallInputs.agent_lost).to(finishing)
    def agent_gone(call: CallInputs, world: CallEffects, ending: Ending) -> None:
        """The caller still hears what the agent has already said."""
        world.play_out(ending)

    @parting.upon(CallInputs.goodbye_said).to(finishing)
    def last_words(call: CallInputs, world: CallEffects) -> None:
        world.play_out(None)

    @parting.upon(CallInputs.leave).to(finishing)
    @parting.upon(CallInputs.agent_lost).to(finishing)
    def gone_while_parting(
        call: CallInputs, world: CallEffects, ending: Ending
    ) -> None:
        """The call was already ending; the earlier reason stands."""
        world.play_out(None)

    @parting.upon(CallInputs.leg_ended).to(ended)
    @finishing.upon(CallInputs.leg_ended).to(ended)
    def left_early(call: CallInputs, world: CallEffects, ending: Ending) -> None:
        world.end(None, hang_up_leg=False)

    @finishing.upon(CallInputs.played_out).to(ended)
    def finish(call: CallInputs, world: CallEffects) -> None:
        world.end(None, hang_up_leg=True)

    # Both sides may act at the same moment, and an earlier request may still be
    # answered while the call is ending.
    @finishing.upon(CallInputs.agent_ready).loop()
    @ended.upon(CallInputs.agent_ready).loop()
    def too_late(call: CallInputs, world: CallEffects, agent: AgentLine) -> None:
        world.discard(agent)

    @parting.upon(CallInputs.part).loop()
    @finishing.upon(CallInputs.part).loop()
    @finishing.upon(CallInputs.agent_lost).loop()
    @finishing.upon(CallInputs.leave).loop()
    @ended.upon(CallInputs.leave).loop()
    @ended.upon(CallInputs.part).loop()
    @ended.upon(CallInputs.agent_lost).loop()
    @ended.upon(CallInputs.leg_ended).loop()
    @ended.upon(CallInputs.hang_up).loop()
    def already_ending(call: CallInputs, world: CallEffects, ending: Ending) -> None:
        """The first reason stands."""

    finishing.upon(CallInputs.goodbye_said).loop().returns(None)

    return machine.build()


new_machine = _build()
