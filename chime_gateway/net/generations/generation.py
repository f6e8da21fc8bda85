"""The short random name of one process of a gateway, beside its instance's name."""

from __future__ import annotations

import re
import secrets
from typing import Final

#: No vowels, so that it makes no words; no characters that look alike.
_ALPHABET: Final = "bcdfghjkmnpqrstvwxz23456789"

LENGTH: Final = 6

#: Fit for a file name, a SIP tag and a SIP branch.
GENERATION: Final = re.compile(rf"[{_ALPHABET}]{{{LENGTH}}}")


def new_generation() -> str:
    """
    Return a random name of some 28 bits; hardly ever more than three processes of a
    gateway run at the same time.
    """
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))
