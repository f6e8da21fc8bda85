"""Sends the recording of a call."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

from twisted.protocols.basic import FileSender

from chime_gateway.http.api.api_request import ApiRequest
from chime_gateway.http.api.entry import READING, Answer, Entry, Reply
from chime_gateway.http.api.problem import Problem
from chime_gateway.store.recordings.files import whole_bytes
from chime_gateway.store.tables import LIVE


class _FixedLength:
    """The first bytes of a file that may grow while it is read."""

    def __init__(self, file: BinaryIO, left: int) -> None:
        self._file = file
        self._left = left

    def read(self, most: int) -> bytes:
        data = self._file.read(min(most, self._left))
        self._left -= len(data)
        return data


async def _send(asked: ApiRequest) -> Answer:
    context = asked.context
    # First, because a call that has just begun may not be in the store yet.
    path = await context.in_thread(context.live_recording, asked.call_id)
    if path is not None and await _sent(asked, path):
        return None
    row = (await asked.stored_call()).row
    location = row.recording
    if not location and row.state == LIVE:
        raise Problem(404, "there is no recording of the call here yet")
    if not location:
        raise Problem(404, "the call was not recorded")
    path = await context.in_thread(context.recording_path, location)
    if path is not None and await _sent(asked, path):
        return None
    link = await context.recording_link(location, asked.request.method.decode())
    if not link:
        raise Problem(404, f"the recording is not on this machine: {location}")
    asked.request.setResponseCode(307)
    asked.request.setHeader(b"Location", link.encode("ascii"))
    asked.request.setHeader(b"Cache-Control", b"no-store")
    asked.request.finish()
    return None


async def _sent(asked: ApiRequest, path: Path) -> bool:
    """
    Send what the file contains now.

    @return: C{False} if the file is gone: it was just renamed or uploaded to S3.
    """
    request, in_thread = asked.request, asked.context.in_thread
    try:
        file = await in_thread(path.open, "rb")
    except FileNotFoundError:
        return False
    with file:
        size = await in_thread(whole_bytes, file)
        request.setHeader(b"Content-Type", b"audio/wav")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"Content-Length", str(size).encode())
        if request.method != b"HEAD":
            content = _FixedLength(file, size)
            await FileSender().beginFileTransfer(content, request)
    request.finish()
    return True


GET_RECORDING: Final = Entry(
    method="GET",
    path="calls/{call_id}/audio",
    operation="getRecording",
    summary="The recording of a call; of a call in progress, the part so far.",
    run=_send,
    reply=Reply(
        description="Stereo audio: the caller left, the agent right.",
        kind="audio/wav",
        schema={"type": "string", "format": "binary"},
    ),
    elsewhere="The recording is in S3: a signed link to it, valid for five minutes.",
    problems=READING,
    is_audited=True,
)
