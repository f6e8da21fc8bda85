"""
Sends the settings of one session to the service until the service has accepted them.

An older model rejects a setting that only newer models support, and all other settings
with it, including instructions and tools.  So a rejected setting that is not essential
is left out, and the rest is sent again.  The service does not always say what it
rejects, nor which command it answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import evolve
from twisted.logger import Logger

from chime_gateway.agents.commands import Commands, Kind, SentCommand
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

#: How long an unsupported setting is remembered: the deployment may get another model.
REMEMBERED_SECONDS: Final = 3600.0


class UnsupportedSettings:
    """
    The settings that the model of a deployment does not support.  All sessions of the
    deployment share this object, so that only the first session is refused.

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
    The settings of one session.

    @param unsupported: what the deployment's model does not support.
    @ivar profile: the settings that are requested, in C{dialect}.
    @ivar refused: the settings that the session continues without; name -> the
        service's error.
    """

    _log = Logger()

    __slots__ = ("_codec", "_commands", "_unsupported", "dialect", "profile", "refused")

    def __init__(
        self,
        dialect: Dialect,
        profile: AgentProfile,
        codec: Codec,
        commands: Commands,
        unsupported: UnsupportedSettings,
    ) -> None:
        self.profile = profile
        self.refused: dict[str, str] = {}
        self.dialect = dialect
        self._codec = codec
        self._commands = commands
        self._unsupported = unsupported
        if REASONING in unsupported:
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
        Return the command for a response with instructions.  They replace those of the
        session, so the session's instructions are repeated in it.
        """
        return realtime_commands.create_response(self._with_rules(instructions))

    def aside(self, instructions: str) -> Command:
        """Return the same for a response outside the conversation."""
        rules = self._with_rules(instructions)
        return realtime_commands.create_aside(self.dialect, rules)

    def taken(self) -> None:
        """The service has accepted the latest settings, or earlier ones."""
        self._commands.answer(Kind.UPDATE)
        if list(self.refused) == [REASONING]:
            self._unsupported.add(REASONING)

    def attributed(
        self, sent: SentCommand | None, event: ServiceError
    ) -> SentCommand | None:
        """
        Return the command that an error answers.  One that quotes no command answers
        the oldest update of the settings that is not answered yet.

        @param sent: the command that the error quotes, if any.
        """
        if sent is None and not event.command_id:
            return self._commands.answer(Kind.UPDATE)
        return sent

    def was_refused(self, event: ServiceError, text: str) -> AgentUnavailable | None:
        """
        The service has refused the settings, so none of them is in force.

        @param text: the service's error.
        @return: why the session cannot be used; C{None}: the settings were sent again
            without the refused one.
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
            "the agent's service refuses {member} of agent profile {agent}; the session"
            " continues without it: {reason}",
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
        Return the requested settings that are not essential.  The one that most models
        refuse is first, as the service may not say which one it refuses.
        """
        names = [REASONING] if REASONING in self._command()["session"] else []
        transcription = self.profile.transcription
        if transcription is not None and not transcription.is_by_the_model:
            names.append(TRANSCRIPTION)
        return names
