"""
Checks values by JSON Schema, with patterns as JSON has them:  C{$} matches the end
only, while Python's also matches before a last line break (ECMA-262 section
22.2.2.4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

#: A C{$} that is neither escaped nor in brackets.
_END: Final = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)


def as_python(pattern: str) -> str:
    """The same pattern, for Python."""
    return _END.sub(lambda found: found[1] or r"\Z", pattern)


def _match(
    _: Any, pattern: str, value: Any, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re.search(as_python(pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator: Final = extend(Draft202012Validator, {"pattern": _match})


def faults(value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """What does not fit."""
    yield from _Validator(dict(schema)).iter_errors(value)
