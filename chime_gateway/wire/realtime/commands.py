"""Commands to the service, as bytes."""

from __future__ import annotations

import binascii
from typing import Any, Final, TypeAlias

import msgspec

from chime_gateway.audio import Codec
from chime_gateway.settings.agent_profile import AgentProfile
from chime_gateway.settings.transcribers import Transcription
from chime_gateway.wire.realtime.dialects import Dialect

#: A command as a JSON document, without an id.
Command: TypeAlias = dict[str, Any]

#: A member of the metadata of a response that is a transcript: of which item.
TRANSCRIPT_OF: Final = "transcript_of"

#: A member of the metadata of a response that is spoken: what it was asked for as.
ASKED_AS: Final = "asked_as"

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'


def encode(command: Command, command_id: str) -> bytes:
    """
    @param command_id: what an C{error} event will name if it is refused.
    """
    return msgspec.json.encode({**command, "event_id": command_id})


def append_audio(audio: bytes) -> bytes:
    """The caller's audio, in the codec of the session; once per frame."""
    return _APPEND_HEAD + binascii.b2a_base64(audio, newline=False) + b'"}'


def update_session(dialect: Dialect, profile: AgentProfile, codec: Codec) -> Command:
    session = dialect.session(profile, dialect.formats[codec])
    return {"type": "session.update", "session": session}


def update_instructions(update: Command) -> Command:
    """
    @param update: of all settings; those that it leaves out stay as they are.
    """
    session = update["session"]
    kept = {name: session[name] for name in ("type", "instructions") if name in session}
    return {**update, "session": kept}


def update_nothing(update: Command) -> Command:
    """
    Answered as each update is, and nothing is other than before.

    @param update: of all settings.
    """
    session = update["session"]
    kept = {name: session[name] for name in ("type",) if name in session}
    return {**update, "session": kept}


def truncate_item(item_id: str, content_index: int, played_ms: int) -> Command:
    """Tell the model how much of its item was heard."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": played_ms,
    }


def clear_playback() -> Command:
    """Over WebRTC: what of a response is not sent yet is not to be heard."""
    return {"type": "output_audio_buffer.clear"}


def delete_item(item_id: str) -> Command:
    """Let the model forget that there was such an item."""
    return {"type": "conversation.item.delete", "item_id": item_id}


def cancel_response(response_id: str) -> Command:
    """
    @param response_id: empty: the one that is being made.
    """
    command: Command = {"type": "response.cancel"}
    if response_id:
        command["response_id"] = response_id
    return command


def create_response(instructions: str = "") -> Command:
    """Let the agent speak; C{instructions} replace the session's for this once."""
    command: Command = {"type": "response.create"}
    if instructions:
        command["response"] = {"instructions": instructions}
    return command


def named(command: Command, name: str) -> Command:
    """
    The same request for a response with a name, which the service repeats in
    C{response.created}: that tells it from the ones that the VAD asks for.
    """
    response = {**command.get("response", {}), "metadata": {ASKED_AS: name}}
    return {**command, "response": response}


def create_aside(dialect: Dialect, instructions: str) -> Command:
    """A response that does not become a part of the conversation."""
    response = {
        "conversation": "none",
        dialect.modalities_key: list(dialect.modalities),
        "instructions": instructions,
        "input": [],
    }
    return {"type": "response.create", "response": response}


def create_transcript(
    dialect: Dialect, item_id: str, transcription: Transcription
) -> Command:
    """
    Let the model write down one item of the caller's, beside the conversation.

    The service repeats the metadata in C{response.created}, which tells this
    response from those that are spoken.
    """
    instructions = (
        "Write down what is said in this audio, word for word and in the language"
        " that is spoken. Write nothing else: no answer, no comment, no quotation"
        " marks. If nothing is said, write nothing."
    )
    if transcription.language:
        instructions += f" The language is probably {transcription.language!r}."
    if transcription.prompt:
        instructions += f" Context: {transcription.prompt}"
    response = {
        "conversation": "none",
        dialect.modalities_key: ["text"],
        "instructions": instructions,
        "input": [{"type": "item_reference", "id": item_id}],
        "metadata": {TRANSCRIPT_OF: item_id},
        "tool_choice": "none",
    }
    return {"type": "response.create", "response": response}


def create_text(text: str, role: str) -> Command:
    """
    A text in the conversation; a C{response.create} may follow.

    @param role: C{user} or C{system}.
    """
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": role, "content": content}
    return {"type": "conversation.item.create", "item": item}


def create_agent_text(dialect: Dialect, text: str) -> Command:
    """What the agent has said before.  There is no way to give it its sound."""
    content = [{"type": dialect.agent_text, "text": text}]
    item = {"type": "message", "role": "assistant", "content": content}
    return {"type": "conversation.item.create", "item": item}


def create_tool_call(call_id: str, name: str, arguments: str) -> Command:
    """That the agent has called a function before."""
    item = {"type": "function_call", "call_id": call_id, "name": name}
    return {
        "type": "conversation.item.create",
        "item": {**item, "arguments": arguments},
    }


def create_tool_output(call_id: str, output: str) -> Command:
    """Give a function's result; a C{response.create} has to follow."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


def placed(create: Command, item_id: str, previous_id: str = "") -> Command:
    """
    The same item under an id of ours.

    @param previous_id: the item that it comes after, C{root}: it is the first; empty:
        the last one that there is.
    """
    command = {**create, "item": {"id": item_id, **create["item"]}}
    return {**command, "previous_item_id": previous_id} if previous_id else command
