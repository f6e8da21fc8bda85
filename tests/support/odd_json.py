"""
Unusual and broken JSON: members twice, in any order, of any type, invalid base64,
escapes, whitespace, missing pieces.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

from hypothesis import strategies as st

#: Values of members, as text.
_ANY_VALUES = (
    *('""', "null", "0", "7", "-1", "1.5", "true", "[]", "{}", '"x"', '"\\ud800"'),
    *('{"payload": "AAAA"}', '[{"type":"x"}]', '"' + "i" * 600 + '"', "1e400"),
)

_ODDITIES = ("missing", "order", "other", "twice")


def _as_written(audio: bytes, wrong: str, at: int, is_escaped: bool) -> str:
    text = base64.b64encode(audio).decode()
    if wrong != "whole":
        at %= len(text) + 1
        text = text[:at] + wrong + text[at + len(wrong) // 2 :]
    written = json.dumps(text)
    return (
        written.replace("/", "\\/").replace("=", "\\u003d") if is_escaped else written
    )


#: Mostly base64; or longer, shorter, with other letters, or with more padding.
base64_texts = st.builds(
    _as_written,
    st.binary(max_size=12),
    st.sampled_from(("whole", "whole", "=", "==", "", "-", "_", " ", "\n", "é", "AA")),
    st.integers(0, 40),
    st.booleans(),
)


@st.composite
def messages(draw: st.DrawFn, members: Mapping[str, st.SearchStrategy[str]]) -> bytes:
    """
    Generate messages.

    @param members: the members of an object, with their usual values as text.
    """
    written = [(name, draw(usual)) for name, usual in members.items()]
    for odd in draw(st.lists(st.sampled_from(_ODDITIES), max_size=2)):
        name = draw(st.sampled_from(sorted(members)))
        if odd == "missing":
            written = [one for one in written if one[0] != name]
        elif odd == "order":
            written = draw(st.permutations(written))
        else:
            value = draw(st.sampled_from(_ANY_VALUES) | members[name])
            if odd == "other":
                written = [one for one in written if one[0] != name]
            written.insert(draw(st.integers(0, len(written))), (name, value))
    text = _object(written, draw(st.sampled_from(("", "", " ", "\n"))))
    end = draw(st.sampled_from(_ENDS))
    return end(text.encode(errors="surrogatepass"))


def _object(members: list[tuple[str, str]], space: str) -> str:
    written = [f'"{name}":{space}{value}' for name, value in members]
    return "{" + f",{space}".join(written) + "}"


_ENDS: tuple[Callable[[bytes], bytes], ...] = (
    *(bytes, bytes, bytes, bytes),
    lambda text: text[:-1],
    lambda text: b" " * 150 + text,
    lambda text: b"[" + text + b"]",
    lambda text: text + b"\xff",
    lambda text: text.replace(b"A", b"\xff", 1),
)
