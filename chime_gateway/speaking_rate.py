"""
Estimates how fast an agent speaks, and from that how much of a text was heard.

The service sends no word timings, and a text comes before its audio.  Once the audio
of an item is complete, the share that was heard gives the share of the text.  Until
then, the agent's speaking rate gives an estimate.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from chime_gateway.history import whole_words

#: The time to say a character, as a multiple of a Latin letter's time: syllabic and
#: logographic scripts take longer, and punctuation is followed by a pause.
_EFFORTS: Final = (
    (re.compile("[.!?\u2026\u3002\uff01\uff1f\u0964\u061f]"), 5.0),
    (re.compile("[,;:\u3001\uff0c\uff1b\uff1a\u060c]"), 3.0),
    (re.compile("[\u3400-\u9fff]"), 3.0),
    (re.compile("[\uac00-\ud7af]"), 2.5),
    (re.compile("[\u3040-\u30ff]"), 2.0),
)

#: Numbers that may be read out digit by digit.
_READ_OUT: Final = re.compile(r"\d(?:[ .,/-]?\d){2,}")
_DIGIT_EFFORT: Final = 5.0

#: Initial estimate, in letters per second, of a slow English speaker; and the bounds
#: of what an estimate may be.
_FIRST_RATE: Final = 11.0
_FIRST_MS: Final = 500.0
_LEAST_RATE, _MOST_RATE = 4.0, 25.0

#: The estimate is based on about the last minute of speech; older speech loses weight.
_HEEDED_MS: Final = 60_000.0

#: Speech is not uniform.  Repeating a word is better than leaving one out.
_CAUTION: Final = 0.95

#: A sentence that ends this little later (about two words) counts as heard to its end.
_SENTENCE_ENDS: Final = re.compile("[.!?\u2026]+(?=\\s)|[\u3002\uff01\uff1f\u0964]")
_LITTLE: Final = 12.0


def _efforts(text: str) -> Iterator[float]:
    read_out = [(x.start(), x.end()) for x in _READ_OUT.finditer(text)]
    for at, char in enumerate(text):
        if read_out and at >= read_out[0][1]:
            del read_out[0]
        if read_out and read_out[0][0] <= at and char.isdigit():
            yield _DIGIT_EFFORT
        elif char.isascii() and char.isalnum():
            yield 1.0
        else:
            yield next((x for kind, x in _EFFORTS if kind.match(char)), 1.0)


def effort(text: str) -> float:
    """The time to say a text, in units of a Latin letter's time."""
    text = text.rstrip()
    # No pause follows the last punctuation mark.
    return sum(_efforts(text[:-1])) + min(1, len(text))


class SpeakingRate:
    """The speaking rate of one agent, learned from its finished items."""

    def __init__(self) -> None:
        self._ms = _FIRST_MS
        self._effort = _FIRST_RATE * _FIRST_MS / 1000

    def learn(self, text: str, ms: float) -> None:
        """Take into account that C{text} was said completely in C{ms}."""
        if _READ_OUT.search(text):
            return  # it may have been read digit by digit or as one number
        self._effort += effort(text)
        self._ms += ms
        if self._ms > _HEEDED_MS:
            self._effort *= _HEEDED_MS / self._ms
            self._ms = _HEEDED_MS

    def within(self, ms: float) -> float:
        """The effort that is certain to fit into this time."""
        rate = self._effort * 1000 / self._ms
        return _CAUTION * min(max(rate, _LEAST_RATE), _MOST_RATE) * ms / 1000

    def heard(
        self, text: str, heard_ms: float, sound_ms: float, *, is_whole: bool
    ) -> str:
        """
        The part of a text that was heard, in whole words.

        @param text: the text received so far.
        @param heard_ms: how much of its audio was heard.
        @param sound_ms: how much of its audio has been received.
        @param is_whole: its audio is complete, from the first word to the last.
        """
        if heard_ms <= 0 or sound_ms <= 0 or not text:
            return ""
        if is_whole and heard_ms >= sound_ms:
            return text
        most = effort(text) * min(1.0, heard_ms / sound_ms)
        surely = most
        if not is_whole:
            surely = min(surely, self.within(heard_ms))
            most = min(most, surely / _CAUTION, surely + _LITTLE)
        # The audio was not heard to its end, so the last word was not, either.
        ends = list(accumulate(_efforts(text[:-1])))
        sentences = [x.end() for x in _SENTENCE_ENDS.finditer(text, 0, len(text) - 1)]
        count = bisect(ends, surely + 1e-6)
        heard = [end for end in sentences if ends[end - 1] <= most]
        if heard and heard[-1] > count:
            return text[: heard[-1]]
        return whole_words(text, count)
