"""
Sends the settings of one session to the service, and follows them until the service
has accepted them.

An older model rejects a setting that only newer ones have, and with it all the
others, instructions and tools included.  So a rejected setting that is not essential
is left out, and the rest is sent again.  The service does not always say what it
rejects, nor which command it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve
from twisted.logger import Logger

from chime_gateway.agents.commands import Asked, Commands, Kind
from chime_gateway.agents.refusals import (
    REASONING,
    TRANSCRIPTION,
    refused_member,
    refused_settings,
)
from chime_gateway.audio import Codec
from chime_gateway.errors import AgentUnavailable
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.wire.realtime import commands as realtime_commands
from chime_gateway.wire.realtime.commands import Command
from chime_gateway.wire.realtime.dialects import Dialect
from chime_gateway.wire.realtime.events import ServiceError

#: A deployment may be given another model; then it is asked once more.
REMEMBERED_SECONDS: Final = 3600.0


class Lacks:
    """
    The settings that the model of a deployment does not have.  All sessions of the
    deployment share this, so that only the first one is refused.

    @param clock: seconds, monotonic.
    """

    __slots__ = ("_clock", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def __contains__(self, member: str) -> bool:
        return self._clock() < self._until.get(member, 0.0)

    def add(self, member: str) -> None:
        self._until[member] = self._clock() + REMEMBERED_SECONDS


class Configuration:
    """
    @param lacks: of the deployment.
    @ivar profile: the settings that are asked for, in C{dialect}.
    @ivar refused: what the session goes on without, by its name: what the service
        has said.
    """

    _log = Logger()

    __slots__ = ("_codec", "_commands", "_lacks", "dialect", "profile", "refused")

    def __init__(
        self,
        dialect: Dialect,
        profile: AgentProfile,
        codec: Codec,
        commands: Commands,
        lacks: Lacks,
    ) -> None:
        self.profile = profile
        self.refused: dict[str, str] = {}
        self.dialect = dialect
        self._codec = codec
        self._commands = commands
        self._lacks = lacks
        if REASONING in lacks:
            self.profile = evolve(profile, reasoning="")

    def ask(self) -> None:
        self._commands.ask(Kind.UPDATE, self._command())

    def add_rules(self, text: str) -> None:
        """Append to the instructions of a session that has its settings."""
        self.profile = evolve(self.profile, instructions=self._with_rules(text))
        self._commands.ask(
            Kind.UPDATE, realtime_commands.update_instructions(self._command())
        )

    def ask_nothing(self) -> None:
        """Send an update that changes nothing: the service has to answer it."""
        self._commands.ask(
            Kind.UPDATE, realtime_commands.update_nothing(self._command())
        )

    def words(self, instructions: str) -> Command:
        """
        A response that is told what to do: instructions of its own would keep those of
        the session from it.
        """
        return realtime_commands.create_response(self._with_rules(instructions))

    def aside(self, instructions: str) -> Command:
        """The same outside of the conversation."""
        rules = self._with_rules(instructions)
        return realtime_commands.create_aside(self.dialect, rules)

    def taken(self) -> None:
        """The service has accepted the latest settings, or earlier ones."""
        self._commands.answer(Kind.UPDATE)
        if list(self.refused) == [REASONING]:
            self._lacks.add(REASONING)

    def attributed(self, asked: Asked | None, event: ServiceError) -> Asked | None:
        """
        To which command an error answers; one that names none, to the oldest request
        for settings that is not answered.

        @param asked: the one that it names.
        """
        if asked is None and not event.command_id:
            return self._commands.answer(Kind.UPDATE)
        return asked

    def was_refused(self, event: ServiceError, text: str) -> AgentUnavailable | None:
        """
        Nothing of these settings is in force.

        @param text: what the service has said.
        @return: why the session is of no use; C{None}: it is asked for again, without
            what is refused.
        """
        left = [name for name in self._dispensable() if name not in self.refused]
        member = refused_member(event, left)
        if member is None:
            return refused_settings(event, text)
        self.refused[member] = text
        if member == REASONING:
            self.profile = evolve(self.profile, reasoning="")
        else:
            self.profile = evolve(
                self.profile, transcription_model="", transcription_kind=""
            )
        self._log.warn(
            "the agent's service refuses {member} of agent profile {agent}, which goes"
            " on without: {reason}",
            member=member,
            agent=self.profile.name,
            reason=text[:300],
        )
        self.ask()
        return None

    # -- inside ------------------------------------------------------------------

    def _with_rules(self, text: str) -> str:
        return f"{self.profile.instructions}\n\n{text}".lstrip("\n")

    def _command(self) -> Command:
        return realtime_commands.update_session(self.dialect, self.profile, self._codec)

    def _dispensable(self) -> list[str]:
        """
        What is asked for and can be done without; first what most models refuse, as
        the service need not say what it does not know.
        """
        names = [REASONING] if REASONING in self._command()["session"] else []
        transcription = self.profile.transcription
        if transcription is not None and not transcription.is_by_the_model:
            names.append(TRANSCRIPTION)
        return names
