"""
The kinds of transcribers, and the fields that each of them accepts.

A session names a deployment of the Azure resource.  That name is free, so it does not
tell which model it has.  Therefore the kind is a separate setting; it decides which
fields are sent.  Sources: Azure's notes on the Realtime reference ("Azure
deviation"), and the C{AudioTranscription} type of the C{openai} package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

#: Retires in 2027, accepts a language and a free text, and is cheap.
DEFAULT_TRANSCRIBER: Final = "gpt-4o-mini-transcribe"

#: Stands for the session's own model, which is asked for a transcript outside the
#: conversation.  It needs no other deployment, and cannot retire before the agent.
REALTIME_MODEL: Final = "realtime-model"

LANGUAGE: Final = "language"
LANGUAGES: Final = "languages"
PROMPT: Final = "prompt"
KEYWORDS: Final = "keywords"
DELAY: Final = "delay"

DELAYS: Final = ("minimal", "low", "medium", "high", "xhigh")

#: Kind -> the fields that it accepts besides the name of its deployment.
TRANSCRIBERS: Final[Mapping[str, frozenset[str]]] = {
    "gpt-4o-mini-transcribe": frozenset({LANGUAGE, PROMPT}),
    "gpt-4o-transcribe": frozenset({LANGUAGE, PROMPT}),
    "gpt-4o-transcribe-diarize": frozenset({LANGUAGE}),
    "gpt-transcribe": frozenset({LANGUAGES, KEYWORDS}),
    "gpt-live-transcribe": frozenset({LANGUAGES, KEYWORDS}),
    "gpt-realtime-whisper": frozenset({LANGUAGE, DELAY}),
    "whisper-1": frozenset({LANGUAGE, PROMPT}),
    REALTIME_MODEL: frozenset({LANGUAGE, PROMPT}),
}


@frozen(kw_only=True)
class Transcription:
    """
    How the caller is transcribed.

    @ivar model: the name of the transcriber's deployment; empty for
        L{REALTIME_MODEL}.
    @ivar kind: one of L{TRANSCRIBERS}; empty: unknown, so only the name is sent.
    @ivar language: ISO 639-1, a hint.
    @ivar prompt: for whisper-1 a list of words, for others a free text.
    @ivar keywords: words that are likely to be said.
    @ivar delay: how long it may wait for more context, one of L{DELAYS}.
    """

    model: str
    kind: str
    language: str = ""
    prompt: str = ""
    keywords: Sequence[str] = ()
    delay: str = ""

    @property
    def is_by_the_model(self) -> bool:
        """Whether the session's own model transcribes, outside the conversation."""
        return self.kind == REALTIME_MODEL

    @property
    def takes(self) -> frozenset[str]:
        return TRANSCRIBERS.get(self.kind, frozenset())

    def fields(self) -> dict[str, object]:
        """Return the session's settings: the deployment, and what this kind accepts."""
        wanted: dict[str, object] = {
            LANGUAGE: self.language,
            LANGUAGES: [self.language] if self.language else [],
            PROMPT: self.prompt,
            KEYWORDS: list(self.keywords),
            DELAY: self.delay,
        }
        takes = self.takes
        given = {
            name: value for name, value in wanted.items() if value and name in takes
        }
        return {"model": self.model, **given}
