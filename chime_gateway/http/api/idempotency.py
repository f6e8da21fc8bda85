"""
The same request, sent again, does nothing again (C{Idempotency-Key}).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

from chime_gateway.http.api.problem import Problem

#: Keys are remembered for this many calls that were placed.
_MAX_KEYS: Final = 1000


class IdempotencyKeys:
    def __init__(self) -> None:
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._under_way: set[str] = set()

    def answer_of(self, key: str) -> dict[str, Any] | None:
        """
        What was answered the first time; C{None}: this is it.

        @raise Problem: that one is not answered yet.
        """
        if key in self._under_way:
            raise Problem(409, "a call with this Idempotency-Key is being placed")
        return self._answers.get(key)

    async def answer(
        self, key: str, find: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """
        Answer, and remember it.

        @param key: empty: there is none.
        """
        if not key:
            return await find()
        self._under_way.add(key)
        try:
            answer = await find()
        finally:
            self._under_way.discard(key)
        self._answers[key] = answer
        if len(self._answers) > _MAX_KEYS:
            self._answers.popitem(last=False)
        return answer
