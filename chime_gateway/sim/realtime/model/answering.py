"""
A voice that answers only from what its session was given.

It keeps no state between answers: everything it knows is in the conversation's items,
spoken or written, and in the instructions.  So its answers show a test what the
session was given.  docs/reference/simulator.md lists what it understands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import define

from chime_gateway.audio import Codec
from chime_gateway.sim.realtime.voices import (
    Line,
    Part,
    RemoteCall,
    Speech,
    ToolCall,
    Turn,
)
from chime_gateway.sim.speech import LOST, spoken

GREETING: Final = ("Hello.", "How can I help you?")
PARDON: Final = "Pardon?"
NOTHING_ELSE: Final = "Is there anything else?"
LISTENING: Final = "I am listening."

#: The pause between two sentences; shorter than the silence that ends a turn.
_PAUSE_SECONDS: Final = 0.1

#: Longer sentences, such as a tool's output, are cut.
_MOST_CHARACTERS: Final = 120

_FACT: Final = re.compile(
    r"\b(my|your|the) ([a-z][a-z ]{0,30}?) is ([a-z0-9+#*-]+)", re.IGNORECASE
)
_QUESTION: Final = re.compile(
    r"(?:what is|which is) (my|the) ([a-z ]+?)\?"
    r"|which ([a-z ]+?) did i (?:give|tell) you\?",
    re.IGNORECASE,
)
_PRESSED: Final = re.compile(r"\bpressed ([0-9*#A-D]+)")
_NUMBERED: Final = re.compile(r"question ([0-9]+): *(.*)", re.IGNORECASE)
_STORY: Final = re.compile(r"tell me a story of ([0-9]{1,3}) parts", re.IGNORECASE)
_CALL: Final = re.compile(r"call ([a-z_][a-z0-9_]*)(?: with (\{.*\}))?", re.IGNORECASE)
_SAY: Final = re.compile(r"say (.+)", re.IGNORECASE)
_SENTENCE_ENDS: Final = re.compile(r"(?<=[.?!])\s+")

#: Instructions that match this suppress the greeting.
_GOES_ON: Final = re.compile(
    r"(?:not|never|without) (?:to )?greet|(?:conversation|call)\b[^.]{0,60}\b(?:goes on"
    r"|continu|resum|so far|under way|in progress|already|earlier)"
    r"|(?:continu|resum)[^.]{0,40}\b(?:conversation|call)\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(
    r"(?:\bsay|\bwords?|exactly|verbatim)\b[^'\"\u201c]*['\"\u201c](.+)['\"\u201d]",
    re.IGNORECASE | re.DOTALL,
)
_ENDING: Final = re.compile(
    r"end (?:each|every) answer with ['\"]?([a-z ]+)", re.IGNORECASE
)


class Answering:
    """The voice; sessions may share it."""

    def answer(self, turn: Turn) -> Sequence[Part]:
        return _Answer(turn).parts()


@define
class _Answer:
    turn: Turn

    def parts(self) -> list[Part]:
        instructions, lines = self.turn.instructions, self.turn.lines
        quoted = _QUOTED.search(instructions)
        if quoted:
            return self._speech([quoted[1]])
        if not any(line.role in ("user", "assistant") for line in lines):
            return self._speech(self._first_words())
        asked, since = _pending(lines)
        done = " ".join(x.text for x in lines[since + 1 :] if x.role == "assistant")
        sentences: list[str] = []
        calls: list[Part] = []
        for index in asked:
            for what in self._answers(index):
                if isinstance(what, str):
                    sentences.append(what)
                else:
                    calls.append(what)
        if not asked:
            sentences = [x for x in GREETING[1:] if GREETING[0] in done]
        left = [x for x in map(self._ended, sentences) if x not in done]
        if not left and not calls:
            left = [NOTHING_ELSE]
        return [*self._speech(left), *calls]

    def _first_words(self) -> Sequence[str]:
        return [LISTENING] if _GOES_ON.search(self.turn.instructions) else GREETING

    def _ended(self, sentence: str) -> str:
        ending = _ENDING.search(self.turn.instructions)
        return f"{sentence} {ending[1].strip()}." if ending else sentence

    def _speech(self, sentences: Sequence[str]) -> list[Part]:
        if not sentences:
            return []
        said = [_sayable(one) for one in sentences]
        return [in_words(self.turn.output_codec, said)]

    def _answers(self, index: int) -> Iterator[str | Part]:
        line = self.turn.lines[index].text.strip()
        if not line:
            yield PARDON
        for text in _SENTENCE_ENDS.split(line) if line else ():
            numbered = _NUMBERED.match(text)
            for what in self._answer(numbered[2] if numbered else text, index):
                is_text = numbered and isinstance(what, str)
                yield f"Answer {numbered[1]}: {what}" if is_text else what  # type: ignore[index]

    def _answer(self, text: str, index: int) -> Iterator[str | Part]:
        question = _QUESTION.match(text)
        story, call = _STORY.search(text), _CALL.search(text)
        fact, say = _FACT.search(text), _SAY.match(text)
        if question:
            key = (question[2] or question[3]).lower()
            is_ours = question[1] is None or question[1].lower() == "my"
            yield self._recalled(key, "your" if is_ours else "the")
        elif text.lower().startswith("which keys did i press"):
            pressed = _last(_PRESSED.findall(self._all()))
            yield f"You pressed {pressed}." if pressed else "You pressed nothing."
        elif text.lower().startswith("what did the tool say"):
            output = _last([x.text for x in self.turn.lines if x.role == "output"])
            yield f"The tool said {output}." if output else "It said nothing."
        elif story:
            parts = int(story[1])
            yield from (f"Part {n} of {parts}." for n in range(1, parts + 1))
        elif call:
            yield self._called(call[1], call[2] or "{}", index)
        elif say:
            yield say[1]
        elif _PRESSED.search(text):
            yield "I have noted your keys."
        elif fact:
            yield f"I have noted your {fact[2].lower()}."
        elif text.lower().startswith("goodbye"):
            yield "Goodbye."
        else:
            yield PARDON

    def _all(self) -> str:
        texts = [x.text for x in self.turn.lines if x.role not in ("call", "output")]
        return "\n".join([self.turn.instructions, *texts])

    def _recalled(self, key: str, whose: str) -> str:
        named = {"the"} if whose == "the" else {"my", "your"}
        known = [
            value
            for owner, name, value in _FACT.findall(self._all())
            if owner.lower() in named and name.lower() == key
        ]
        found = _last(known)
        if not found:
            return f"I do not know {whose} {key}."
        return f"{whose.capitalize()} {key} is {found}."

    def _called(self, name: str, arguments: str, index: int) -> str | Part:
        """Report a tool's result, call the tool, or say that its result is awaited."""
        after = self.turn.lines[index + 1 :]
        calls = [x for x in after if x.role == "call" and x.text.startswith(name)]
        ids = {x.call_id for x in calls} | {name}
        outputs = [x.text for x in after if x.role == "output" and x.call_id in ids]
        if outputs:
            return f"The result is {outputs[-1]}."
        if calls:
            return f"I wait for {name}."
        server = _server_of(name, self.turn.tools)
        if server is None:
            return ToolCall(name, arguments)
        output = f"{name} is done"
        return RemoteCall(server, name, arguments, None if "fail" in name else output)


def in_words(codec: Codec, sentences: Sequence[str]) -> Speech:
    """Speak the sentences."""
    pause = codec.silence(codec.sample_bytes * round(codec.clock_rate * _PAUSE_SECONDS))
    audio = pause.join(spoken(codec, one) for one in sentences)
    return Speech(audio, " ".join(sentences))


def _pending(lines: Sequence[Line]) -> tuple[list[int], int]:
    """
    Find what the caller said last and what was not answered yet.

    @return: the indices of these lines, and the last of them; -1 if there is none.
    """
    users = [n for n, line in enumerate(lines) if line.role == "user"]
    agents = [n for n, line in enumerate(lines) if line.role == "assistant"]
    if not users:
        return [], -1
    since = max((n for n in agents if n < users[-1]), default=-1)
    return [n for n in users if n > since], users[-1]


def _server_of(name: str, tools: Sequence[Any]) -> str | None:
    """Return the label of a tool's MCP server; None for a function of the client."""
    for tool in tools:
        if tool.get("type") == "mcp" and name in (tool.get("allowed_tools") or ()):
            return str(tool.get("server_label"))
    return None


def _sayable(text: str) -> str:
    kept = "".join(x if x.isascii() and x.isprintable() else LOST for x in text)
    return kept[:_MOST_CHARACTERS]


def _last(found: Sequence[str]) -> str:
    return found[-1] if found else ""
