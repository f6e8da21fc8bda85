"""Builds commands to the service, and encodes them."""

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

#: Metadata of a response that is a transcript: the id of the transcribed item.
TRANSCRIPT_OF: Final = "transcript_of"

#: Metadata of a spoken response: the name under which it was requested.
ASKED_AS: Final = "asked_as"

_APPEND_HEAD: Final = b'{"type":"input_audio_buffer.append","audio":"'


def encode(command: Command, command_id: str) -> bytes:
    """
    Encode a command.

    @param command_id: the id that an C{error} event names if the command is refused.
    """
    return msgspec.json.encode({**command, "event_id": command_id})


def append_audio(audio: bytes) -> bytes:
    """Encode the caller's audio, in the session's codec; called for each frame."""
    return _APPEND_HEAD + binascii.b2a_base64(audio, newline=False) + b'"}'


def update_session(dialect: Dialect, profile: AgentProfile, codec: Codec) -> Command:
    session = dialect.session(profile, dialect.formats[codec])
    return {"type": "session.update", "session": session}


def update_instructions(update: Command) -> Command:
    """
    Reduce an update to the instructions; the other settings do not change.

    @param update: an update of all settings.
    """
    session = update["session"]
    kept = {name: session[name] for name in ("type", "instructions") if name in session}
    return {**update, "session": kept}


def update_nothing(update: Command) -> Command:
    """
    Reduce an update to one that changes nothing, but is answered like any other.

    @param update: an update of all settings.
    """
    session = update["session"]
    kept = {name: session[name] for name in ("type",) if name in session}
    return {**update, "session": kept}


def truncate_item(item_id: str, content_index: int, played_ms: int) -> Command:
    """Tell the model how much of an item was heard."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": played_ms,
    }


def clear_playback() -> Command:
    """Over WebRTC: discard the audio of a response that has not been sent yet."""
    return {"type": "output_audio_buffer.clear"}


def delete_item(item_id: str) -> Command:
    """Delete an item from the conversation."""
    return {"type": "conversation.item.delete", "item_id": item_id}


def cancel_response(response_id: str) -> Command:
    """
    Cancel a response.

    @param response_id: empty: the response in progress.
    """
    command: Command = {"type": "response.cancel"}
    if response_id:
        command["response_id"] = response_id
    return command


def create_response(instructions: str = "") -> Command:
    """Request a response; C{instructions} replace the session's for this one only."""
    command: Command = {"type": "response.create"}
    if instructions:
        command["response"] = {"instructions": instructions}
    return command


def named(command: Command, name: str) -> Command:
    """
    Add a name to a request for a response.  The service repeats it in
    C{response.created}, which distinguishes the response from those that the VAD
    requests.
    """
    response = {**command.get("response", {}), "metadata": {ASKED_AS: name}}
    return {**command, "response": response}


def create_aside(dialect: Dialect, instructions: str) -> Command:
    """Request a spoken response that does not become part of the conversation."""
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
    Have the model transcribe an item of the caller, outside of the conversation.

    The service repeats the metadata in C{response.created}, which distinguishes this
    response from spoken ones.
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
    Add a text to the conversation; a C{response.create} may follow.

    @param role: C{user} or C{system}.
    """
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": role, "content": content}
    return {"type": "conversation.item.create", "item": item}


def create_agent_text(dialect: Dialect, text: str) -> Command:
    """Add what the agent has said earlier, as text: audio cannot be added."""
    content = [{"type": dialect.agent_text, "text": text}]
    item = {"type": "message", "role": "assistant", "content": content}
    return {"type": "conversation.item.create", "item": item}


def create_tool_call(call_id: str, name: str, arguments: str) -> Command:
    """Add an earlier function call of the agent."""
    item = {"type": "function_call", "call_id": call_id, "name": name}
    return {
        "type": "conversation.item.create",
        "item": {**item, "arguments": arguments},
    }


def create_tool_output(call_id: str, output: str) -> Command:
    """Add a function's result; a C{response.create} must follow."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


def placed(create: Command, item_id: str, previous_id: str = "") -> Command:
    """
    Give a new item an id of our choice, and a place.

    @param previous_id: the id of the item before it; C{root}: it becomes the first;
        empty: it becomes the last.
    """
    command = {**create, "item": {"id": item_id, **create["item"]}}
    return {**command, "previous_item_id": previous_id} if previous_id else command
