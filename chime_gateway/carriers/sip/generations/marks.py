"""
Marks tags, branches and Call-IDs with the generation of the process that made them.

So a request in a dialog and the response to a request name the process that they are
for, and no table is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from chime_gateway.wire.sip.message import MAGIC_COOKIE

#: Never part of a generation, but allowed in a token (RFC 3261 section 25.1).
_DOT: Final = "."

#: The length of a digest.  Among some ten thousand, a collision is very unlikely.
DIGEST_BYTES: Final = 8


def marked(generation: str, new_token: Callable[[], str]) -> Callable[[], str]:
    """Return a function that makes tokens marked with this generation."""
    return lambda: f"{generation}{_DOT}{new_token()}"


def generation_of(token: str) -> str:
    """Return the generation in a tag, branch or Call-ID; empty: it is not marked."""
    generation, dot, _ = token.removeprefix(MAGIC_COOKIE).partition(_DOT)
    return generation if dot else ""


def digest_of(*parts: str) -> bytes:
    """Return a short digest, for comparisons."""
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=DIGEST_BYTES).digest()
