"""One telephone number in all notations of RFC 3966 and RFC 3261."""

from __future__ import annotations

import random

_PARAMETERS = (
    *(";npdi", ";npdi;rn=+1-202-544-0000", ";rn=+12025440000;cic=+1-6789"),
    *(";tgrp=TG-1;trunk-context=+1-630", ";cpc=ordinary", ";isub=12", ";ext=22"),
    *(";phone-context=example.com", ";phone-context=+1", ";user=phone", ";oli=00"),
)


def user_part(rng: random.Random, number: str) -> str:
    """A notation for the user part of a SIP URI."""
    text = ""
    for char in number:
        if text and text[-1].isdigit() and rng.random() < 0.3:
            text += rng.choice(("-", ".", "(", ")", ")-", "%2D", "%28"))
        if rng.random() < 0.1 or (char == "+" and rng.random() < 0.3):
            char = f"%{ord(char):02x}" if rng.random() < 0.5 else f"%{ord(char):02X}"
        text += char
    return text + "".join(rng.sample(_PARAMETERS, rng.choice((0, 0, 1, 2))))


def uri(rng: random.Random, number: str, host: str = "192.0.2.10") -> str:
    user = user_part(rng, number)
    scheme = rng.choice(("sip", "sip", "sips", "SIP", "tel", "Tel"))
    if scheme.lower() == "tel":
        return f"{scheme}:{user}"
    return f"{scheme}:{user}@{host}{rng.choice(('', ':5060', ';user=phone'))}"


def by_hand(rng: random.Random, number: str) -> str:
    """A notation that people use in a file."""
    text = number[:1]
    for char in number[1:]:
        if rng.random() < 0.3:
            text += rng.choice((" ", "-", ".", "/", " (", ") ", "\N{NO-BREAK SPACE}"))
        text += char
    return text
