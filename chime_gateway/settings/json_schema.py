"""
Checks values against a JSON Schema.

Patterns follow ECMA-262 (section 22.2.2.4): C{$} matches at the end only, while
Python's C{$} also matches before a final line break.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

#: A C{$} that is neither escaped nor within brackets.
_END: Final = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\$", re.DOTALL)


def as_python(pattern: str) -> str:
    """Translate a pattern to Python's syntax."""
    return _END.sub(lambda found: found[1] or r"\Z", pattern)


def _match(
    _: object, pattern: str, value: object, schema: Mapping[str, object]
) -> Iterator[ValidationError]:
    if isinstance(value, str) and not re.search(as_python(pattern), value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


_Validator: Final = extend(Draft202012Validator, {"pattern": _match})


def faults(value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Yield what does not match the schema."""
    yield from _Validator(dict(schema)).iter_errors(value)
