"""
Marks tags, branches and Call-IDs with the generation of the process that made them.

So a request in a dialog, and the answer to a request, name the process that they are
for, and no table of them is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from chime_gateway.wire.sip.message import MAGIC_COOKIE

#: In no generation, and in every token of RFC 3261 section 25.1.
_DOT: Final = "."

#: Of a digest: that two of some ten thousand are one is no matter, by far.
DIGEST_BYTES: Final = 8


def marked(generation: str, new_token: Callable[[], str]) -> Callable[[], str]:
    """Makes tokens that say whose they are."""
    return lambda: f"{generation}{_DOT}{new_token()}"


def generation_of(token: str) -> str:
    """Of a tag, branch or Call-ID; empty: it says none, so it is not of ours."""
    generation, dot, _ = token.removeprefix(MAGIC_COOKIE).partition(_DOT)
    return generation if dot else ""


def digest_of(*parts: str) -> bytes:
    """Stands for what is long where only equality counts."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=DIGEST_BYTES).digest()
