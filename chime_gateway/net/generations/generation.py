"""Names one process of a gateway: a short token beside the name of the instance."""

from __future__ import annotations

import re
import secrets
from typing import Final

#: Neither vowels nor what looks like another: no words, and it can be read out.
_ALPHABET: Final = "bcdfghjkmnpqrstvwxz23456789"

LENGTH: Final = 6

#: What one looks like: fit for a name of a file, a tag and a branch of SIP.
GENERATION: Final = re.compile(rf"[{_ALPHABET}]{{{LENGTH}}}")


def new_generation() -> str:
    """Some 28 bits by chance; of one gateway hardly ever more than three run."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))
