"""The recording of a call."""

from __future__ import annotations

import os
from typing import Final

from twisted.protocols.basic import FileSender

from chime_gateway.http.api.asked import Asked
from chime_gateway.http.api.entry import READING, Answer, Entry, Reply
from chime_gateway.http.api.problem import Problem


async def _send(asked: Asked) -> Answer:
    request, context = asked.request, asked.context
    location = (await asked.stored_call()).row.recording
    if not location:
        raise Problem(404, "the call was not recorded")
    path = await context.in_thread(context.recording_path, location)
    if path is None:
        raise Problem(404, f"the recording is not on this machine: {location}")
    with await context.in_thread(path.open, "rb") as file:
        request.setHeader(b"Content-Type", b"audio/wav")
        request.setHeader(b"Cache-Control", b"no-store")
        size = os.fstat(file.fileno()).st_size
        request.setHeader(b"Content-Length", str(size).encode())
        if request.method != b"HEAD":
            await FileSender().beginFileTransfer(file, request)
    request.finish()
    return None


GET_RECORDING: Final = Entry(
    method="GET",
    path="calls/{call_id}/audio",
    operation="getRecording",
    summary="The recording, if it is on the gateway's machine.",
    run=_send,
    reply=Reply(
        description="Caller left, agent right.",
        kind="audio/wav",
        schema={"type": "string", "format": "binary"},
    ),
    problems=READING,
    is_audited=True,
)
