"""
HTTP tools: sends a tool call to an operator's server, and reads the result.

Every failure is described in words for the model, which can tell the caller, or try
something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred

from chime_gateway.errors import ToolFailed
from chime_gateway.net.signed_post import Answer, PostFailed, SignedPost
from chime_gateway.settings.tools import HttpTool

#: Maximum length of an error's body that is passed to the model.
_DETAIL_CHARS: Final = 500

_JSON: Final = ("application/json", "text/json")


class HttpTools:
    """
    Implements L{chime_gateway.interfaces.ToolRunner}.

    @param observe: called with the tool's name, whether it gave a result, and the
        duration in seconds.
    """

    def __init__(
        self,
        post: SignedPost,
        clock: Callable[[], float],
        observe: Callable[[str, bool, float], None] = lambda *_: None,
    ) -> None:
        self._post = post
        self._clock = clock
        self._observe = observe

    def run(self, tool: HttpTool, request_id: str, body: bytes) -> Deferred[str]:
        return Deferred.fromCoroutine(self._run(tool, request_id, body))

    async def _run(self, tool: HttpTool, request_id: str, body: bytes) -> str:
        began = self._clock()
        is_good = False
        try:
            answer = await self._post.send(
                tool.url,
                body,
                message_id=request_id,
                seconds=tool.timeout_seconds,
                max_bytes=tool.max_answer_bytes,
                secret=tool.secret,
                bearer=tool.bearer,
            )
            result = _result(answer)
            is_good = True
            return result
        except PostFailed as exc:
            raise ToolFailed(f"the server of this tool did not answer: {exc}") from exc
        finally:
            self._observe(tool.name, is_good, self._clock() - began)


def _result(answer: Answer) -> str:
    """
    Return the tool's result.

    @raise ToolFailed: the answer is not a result.
    """
    is_json = answer.content_type in _JSON or answer.content_type.endswith("+json")
    if not 200 <= answer.status < 300:
        if 300 <= answer.status < 400:
            raise ToolFailed("the server of this tool redirects, which is not followed")
        detail = ""
        if is_json or answer.content_type == "text/plain":
            text = answer.body.decode("utf-8", "replace").strip()
            detail = text[:_DETAIL_CHARS]
        raise ToolFailed(f"the server of this tool says {answer.status}", detail)
    if not answer.body.strip():
        return '{"ok":true}'
    if not is_json and answer.content_type != "text/plain":
        kind = answer.content_type[:80] or "something without a type"
        raise ToolFailed(f"the server of this tool answered with {kind}, not JSON")
    try:
        return answer.body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ToolFailed("the answer of this tool is not UTF-8") from exc
