"""
The transcribers of a simulated Realtime resource, and the fields that each accepts.

A session names a deployment as its transcription model, so the name does not reveal
the kind of transcriber.  Only the resource knows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from enum import Enum
from typing import Any, Final

from attrs import Factory, field, frozen

from chime_gateway.sim.realtime.dialect import Refused, refuse_type

#: The service's text, in a handshake and in a transcription.
DEPLOYMENT_NOT_FOUND: Final = (
    "The API deployment for this resource does not exist. If you created the"
    " deployment within the last 5 minutes, please wait a moment and try again."
)

_EVENTS: Final = "conversation.item.input_audio_transcription"
COMPLETED: Final = f"{_EVENTS}.completed"
#: The name that one page of the service's documentation uses instead.
OTHER_COMPLETED: Final = "conversation.item.audio_transcription.completed"


@frozen
class Transcriber:
    """
    One kind of transcriber.

    @ivar takes: the accepted members of C{transcription}, besides C{model}; only those
        that the reference documents.
    @ivar retires: the day from which its deployments no longer exist.
    @ivar has_tokens: usage is counted in tokens, not in seconds.
    @ivar has_whole_delta: a single delta has the whole transcript.
    """

    takes: frozenset[str]
    retires: date | None = None
    has_tokens: bool = False
    has_whole_delta: bool = False


_LISTS: Final = frozenset({"languages", "keywords"})

TRANSCRIBERS: Final[Mapping[str, Transcriber]] = {
    "whisper-1": Transcriber(
        frozenset({"language", "prompt"}), date(2026, 12, 15), has_whole_delta=True
    ),
    "gpt-4o-transcribe": Transcriber(
        frozenset({"language", "prompt"}), date(2026, 10, 15), has_tokens=True
    ),
    # The date of its second version; the first was retired on 2026-10-15.
    "gpt-4o-mini-transcribe": Transcriber(
        frozenset({"language", "prompt"}), date(2027, 6, 15), has_tokens=True
    ),
    "gpt-4o-transcribe-diarize": Transcriber(
        frozenset({"language"}), date(2027, 4, 15), has_tokens=True
    ),
    "gpt-transcribe": Transcriber(_LISTS, has_tokens=True),
    "gpt-live-transcribe": Transcriber(_LISTS),
    "gpt-realtime-whisper": Transcriber(frozenset({"language", "delay"})),
}

#: A resource with one deployment of each kind, named like the kind.
ONE_OF_EACH: Final[Mapping[str, str]] = {kind: kind for kind in TRANSCRIBERS}

#: The transcriber that works without a deployment.
BUILT_IN: Final = "whisper-1"


class Refusal(Enum):
    """
    How the service refuses to transcribe.

    @cvar UPDATE: an C{error} on the update, of which nothing is applied.
    @cvar UPDATE_UNCORRELATED: the same without C{event_id} and C{param}.
    @cvar NOT_FOUND: each turn fails with C{DeploymentNotFound}.
    @cvar FAILED: each turn fails with C{server_error} and no code.
    @cvar SILENCE: neither a transcript nor a failure is ever sent.
    """

    UPDATE = "update"
    UPDATE_UNCORRELATED = "update_uncorrelated"
    NOT_FOUND = "not_found"
    FAILED = "failed"
    SILENCE = "silence"


def _known_kinds(instance: object, attribute: object, value: Mapping[str, str]) -> None:
    for kind in value.values():
        if kind not in TRANSCRIBERS:
            raise ValueError(f"{kind}: one of {', '.join(TRANSCRIBERS)}")


@frozen(kw_only=True)
class Transcription:
    """
    The resource's transcription.

    @ivar deployments: deployment's name -> its kind, a key of L{TRANSCRIBERS}.  A new
        resource has none; C{whisper-1} works there anyway.
    @ivar today: the date that decides which transcribers are retired; None, the
        default: none are, so that tests do not begin to fail at some date.
    @ivar refusal: refuse in this way; None: only as the deployments and dates require.
    @ivar completed_event: the name of the event with a transcript.
    """

    deployments: Mapping[str, str] = field(
        default=Factory(dict[str, str]), validator=_known_kinds
    )
    today: date | None = None
    refusal: Refusal | None = None
    completed_event: str = COMPLETED

    def transcriber(self, name: Any) -> Transcriber | None:
        """
        Return the transcriber that C{transcription.model} names, if it exists.
        """
        kind = self.deployments.get(name, BUILT_IN if name == BUILT_IN else "")
        found = TRANSCRIBERS.get(kind)
        is_retired = (
            found is not None
            and found.retires is not None
            and self.today is not None
            and self.today >= found.retires
        )
        return None if is_retired else found

    def check(self, wanted: Mapping[str, object], where: str) -> None:
        """
        Check the C{transcription} of an update.

        An unknown deployment is accepted here and fails at the first turn.

        @raise Refused: the update fails.
        """
        _check_types(wanted, where)
        model = wanted.get("model")
        if self.refusal in (Refusal.UPDATE, Refusal.UPDATE_UNCORRELATED):
            raise Refused(
                "invalid_value",
                f"Invalid value: '{model}'.",
                f"{where}.model",
                is_correlated=self.refusal is Refusal.UPDATE,
            )
        transcriber = self.transcriber(model)
        if transcriber is None:
            return
        for name, value in wanted.items():
            is_set = name != "model" and value is not None
            if is_set and name not in transcriber.takes:
                raise Refused(
                    "invalid_value",
                    f"Invalid value: '{where}.{name}' is not supported with the"
                    f" transcription model '{model}'.",
                    f"{where}.{name}",
                )

    def events(
        self, wanted: Mapping[str, object], item_id: str, seconds: float, text: str = ""
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """
        Yield type and members of the events for one item of the caller's audio.

        @param text: the recognized text; empty if there is none.
        """
        if self.refusal is Refusal.SILENCE:
            return
        at = {"item_id": item_id, "content_index": 0}
        transcriber = self.transcriber(wanted.get("model"))
        if transcriber is None or self.refusal is Refusal.NOT_FOUND:
            yield f"{_EVENTS}.failed", {**at, "error": _not_found()}
            return
        if self.refusal is Refusal.FAILED:
            yield f"{_EVENTS}.failed", {**at, "error": _server_error(item_id)}
            return
        text = text or words_of(seconds)
        for delta in [text] if transcriber.has_whole_delta else _pieces(text):
            yield f"{_EVENTS}.delta", {**at, "delta": delta}
        if transcriber is TRANSCRIBERS["gpt-4o-transcribe-diarize"]:
            segment = {"id": "seg_0001", "speaker": "A", "text": text}
            times = {"start": 0.0, "end": round(seconds, 2)}
            yield f"{_EVENTS}.segment", {**at, **segment, **times}
        usage = _usage(transcriber, text, seconds)
        yield self.completed_event, {**at, "transcript": text, "usage": usage}


def words_of(seconds: float) -> str:
    """Return the transcript of audio without recognizable words."""
    return f"({seconds:.1f} s of speech)"


def _pieces(text: str) -> list[str]:
    """Split into words, each with the space before it."""
    return re.findall(r"\s*\S+", text)


def _usage(transcriber: Transcriber, text: str, seconds: float) -> dict[str, Any]:
    if not transcriber.has_tokens:
        return {"type": "duration", "seconds": round(seconds, 2)}
    into, out = round(seconds * 10), len(_pieces(text))
    return {
        "type": "tokens",
        "total_tokens": into + out,
        "input_tokens": into,
        "input_token_details": {"text_tokens": 0, "audio_tokens": into},
        "output_tokens": out,
    }


def _not_found() -> dict[str, Any]:
    return {
        "type": "invalid_request_error",
        "code": "DeploymentNotFound",
        "message": DEPLOYMENT_NOT_FOUND,
        "param": None,
    }


def _server_error(item_id: str) -> dict[str, Any]:
    return {
        "type": "server_error",
        "code": None,
        "message": f"Input transcription failed for item '{item_id}'.",
        "param": None,
    }


_DELAYS: Final = ("minimal", "low", "medium", "high", "xhigh")


def _check_types(wanted: Mapping[str, Any], where: str) -> None:
    for name, value in wanted.items():
        at = f"{where}.{name}"
        if value is None:
            continue
        if name not in _LISTS:
            refuse_type(value, str, at)
        else:
            refuse_type(value, list, at)
            for index, member in enumerate(value):
                refuse_type(member, str, f"{at}[{index}]")
                if name == "languages" and not re.fullmatch(r"[a-z]{2}", member):
                    text = f"Invalid value: '{member}'. Expected an ISO-639-1 code."
                    raise Refused("invalid_value", text, f"{at}[{index}]")
    delay = wanted.get("delay")
    if delay is not None and delay not in _DELAYS:
        supported = ", ".join(f"'{known}'" for known in _DELAYS)
        raise Refused(
            "invalid_value",
            f"Invalid value: '{delay}'. Supported values are: {supported}.",
            f"{where}.delay",
        )
