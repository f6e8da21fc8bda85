"""
The kinds of transcribers, and the fields that each of them accepts.

A session names a deployment of the Azure resource; that name is free, so it does not
tell the kind of its model.  So the kind is a setting of its own, and it decides which
fields are sent.  Sources:  Azure's notes on the Realtime reference ("Azure
deviation"), and the C{AudioTranscription} type of the C{openai} package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

#: Lives until 2027, takes a language and a free text, and is cheap.
DEFAULT_TRANSCRIBER: Final = "gpt-4o-mini-transcribe"

#: No transcriber: the session's own model is asked for a text beside the
#: conversation.  It needs no other deployment, and cannot retire before the agent.
REALTIME_MODEL: Final = "realtime-model"

LANGUAGE: Final = "language"
LANGUAGES: Final = "languages"
PROMPT: Final = "prompt"
KEYWORDS: Final = "keywords"
DELAY: Final = "delay"

DELAYS: Final = ("minimal", "low", "medium", "high", "xhigh")

#: Kind -> the fields that it takes beside the name of its deployment.
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
    @ivar kind: one of L{TRANSCRIBERS}; empty: not known, so nothing but the name
        is sent.
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
        """The session's own model writes, in responses beside the conversation."""
        return self.kind == REALTIME_MODEL

    @property
    def takes(self) -> frozenset[str]:
        return TRANSCRIBERS.get(self.kind, frozenset())

    def fields(self) -> dict[str, object]:
        """What a session is told: the deployment, and what this kind takes."""
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
