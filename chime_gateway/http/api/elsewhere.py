"""
Asks older processes of this gateway about their calls, and answers such requests of
newer ones.

A process that hangs costs a short wait; the response then says that it is incomplete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred, DeferredList

from chime_gateway.errors import NoSuchCall
from chime_gateway.http.api.problem import Problem
from chime_gateway.net.generations.channel import Message
from chime_gateway.net.generations.kin import Kin, NotAnswered, Peer

_HAS: Final = "api.has"
_DO: Final = "api.do"
_LIVE: Final = "api.live"

#: For questions about which calls a process has; a process that works answers at once.
ASK_SECONDS: Final = 1.0

#: For actions on a call, which may wait for the other party, as a transfer does.
DO_SECONDS: Final = 40.0


class Answering(Protocol):
    """The API of one process, as other processes use it."""

    def has(self, call_id: str) -> bool: ...
    def live(self) -> list[dict[str, Any]]:
        """Return the rows of the calls in progress."""

    async def do(self, method: str, path: str, body: Mapping[str, object]) -> Any:
        """@raise Problem: the request cannot be carried out."""


@frozen
class OlderCalls:
    """
    The calls in progress at older processes.

    @ivar rows: the rows of the calls.
    @ivar unanswered: the generations of the processes that did not answer.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    unanswered: Sequence[str] = ()


class Elsewhere:
    """
    The older processes of this gateway.

    @param kin: the connections to them; C{None} if there can be none.
    """

    def __init__(self, kin: Kin | None = None) -> None:
        self._kin = kin

    def answer_by(self, api: Answering) -> None:
        """Answer the requests of other processes with this API."""
        if self._kin is None:
            return

        def has(_: Peer, message: Message) -> Message:
            return Message(_HAS, {"has": api.has(str(message.head.get("call_id")))})

        def live(_: Peer, message: Message) -> Message:
            return Message(_LIVE, {"rows": api.live()})

        def do(_: Peer, message: Message) -> Deferred[Message]:
            return Deferred.fromCoroutine(_done(api, message))

        self._kin.on(_HAS, has)
        self._kin.on(_LIVE, live)
        self._kin.on(_DO, do)

    @property
    def has_older(self) -> bool:
        """Whether there are older processes."""
        return self._kin is not None and bool(self._kin.older)

    async def live(self) -> OlderCalls:
        """Return the calls in progress at older processes."""
        answers = await self._ask_all(_LIVE, {})
        rows = [
            row
            for answer in answers.values()
            if answer is not None
            for row in answer.head.get("rows", ())
        ]
        return OlderCalls(
            rows, [name for name, said in answers.items() if said is None]
        )

    async def owner(self, call_id: str) -> tuple[Peer | None, Sequence[str]]:
        """
        Return the older process that has a call, and those that did not answer.
        """
        answers = await self._ask_all(_HAS, {"call_id": call_id})
        unanswered = [name for name, said in answers.items() if said is None]
        for generation, answer in answers.items():
            if answer is not None and answer.head.get("has") and self._kin is not None:
                return self._kin.older.get(generation), unanswered
        return None, unanswered

    async def do(
        self, peer: Peer, method: str, path: str, body: Mapping[str, object]
    ) -> Any:
        """
        Carry out a request in the process that has the call.

        @raise Problem: that process refused the request, or did not answer.
        """
        head = {"method": method, "path": path, "body": dict(body)}
        try:
            said = (await peer.ask(_DO, head, seconds=DO_SECONDS)).head
        except NotAnswered as exc:
            raise Problem(
                503,
                f"process {peer.generation}, which has the call, does not answer; the"
                f" request may have been carried out ({exc})",
                Retry_After="5",
            ) from exc
        if (status := said.get("status")) is not None:
            raise Problem(int(status), str(said.get("detail")), **said["headers"])
        return said.get("answer")

    async def _ask_all(
        self, kind: str, head: Mapping[str, object]
    ) -> dict[str, Message | None]:
        """Return the answers by generation; C{None} where there was none."""
        older = {} if self._kin is None else dict(self._kin.older)
        if not older:
            return {}
        asking = [peer.ask(kind, head, seconds=ASK_SECONDS) for peer in older.values()]
        results = await DeferredList(asking, consumeErrors=True)
        return {
            generation: answer if isinstance(answer, Message) else None
            for generation, (_, answer) in zip(older, results, strict=True)
        }


async def _done(api: Answering, message: Message) -> Message:
    head = message.head
    try:
        answer = await api.do(
            str(head.get("method")), str(head.get("path")), head.get("body") or {}
        )
    except NoSuchCall:
        said: dict[str, Any] = {"status": 409, "detail": "the call has ended"}
    except Problem as exc:
        said = {"status": exc.status, "detail": str(exc), "headers": exc.headers}
    else:
        said = {"answer": answer}
    return Message(_DO, {"headers": {}, **said})
