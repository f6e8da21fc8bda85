"""
Headless Chromium, controlled by the DevTools protocol through a pipe.

A file replaces its microphone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from suites.rtc import http
from suites.rtc.audio import Samples, write_wav
from suites.rtc.peers import ANSWER_SECONDS, HERE, PeerError, Stack

#: Debian's name, and other ones.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--remote-debugging-pipe",
)

#: Without this feature offers contain addresses instead of mDNS names.
_MDNS = "--disable-features=WebRtcHideLocalIpsWithMdns"


def program() -> str:
    """Return the path of the program; empty: it is not installed."""
    return next(filter(None, map(shutil.which, PROGRAMS)), "")


class Chromium(Stack):
    """
    @ivar microphone: what is said by peers that are told to use it, from the moment
        that they begin.
    """

    name = "Chromium"

    def __init__(
        self, microphone: Samples | None = None, *, hides_addresses: bool = False
    ) -> None:
        super().__init__()
        self._microphone = microphone
        self._hides_addresses = hides_addresses
        self._folder = Path(tempfile.mkdtemp(prefix="chimegw-chromium-"))
        self._commands = itertools.count(1)
        self._pipe: Any = None
        self._session = ""
        self._pending: dict[int, asyncio.Future[Any]] = {}

    def command(self) -> list[str]:
        flags = [*_FLAGS, f"--user-data-dir={self._folder}/profile"]
        if not self._hides_addresses:
            flags.append(_MDNS)
        if self._microphone is not None:
            path = self._folder / "microphone.wav"
            write_wav(path, self._microphone)
            flags.append(f"--use-file-for-fake-audio-capture={path}%noloop")
        return [program() or PROGRAMS[0], *flags]

    async def listen(self) -> None:
        # It reads descriptor 3 and writes 4, and a zero byte ends each message.
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        line = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        self._process = await asyncio.create_subprocess_exec(
            *("bash", "-c", line, *self.command()),
            pass_fds=(theirs_in, theirs_out),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=1 << 26)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours_in, "rb")
        )
        self._pipe, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(ours_out, "wb")
        )
        self._reading = asyncio.create_task(self._read_pipe(reader))
        page = (HERE / "peer_chromium.html").as_uri()
        target = await self._tell("Target.createTarget", url="about:blank")
        found = await self._tell(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = found["sessionId"]
        await self._tell("Page.enable")
        await self._tell("Page.navigate", url=page)
        async with asyncio.timeout(ANSWER_SECONDS):
            while not await self._evaluate("Boolean(window.peers)"):
                await asyncio.sleep(0.05)

    async def _read_pipe(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                message = json.loads((await reader.readuntil(b"\0"))[:-1])
                future = self._pending.pop(message.get("id", 0), None)
                if future is not None and not future.done():
                    future.set_result(message)
        except asyncio.IncompleteReadError:
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(PeerError("Chromium has ended"))

    async def _tell(self, method: str, **parameters: Any) -> Any:
        number = next(self._commands)
        future = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._pipe.write(json.dumps(message).encode() + b"\0")
        answer = await asyncio.wait_for(future, ANSWER_SECONDS)
        if "error" in answer:
            raise PeerError(f"Chromium: {method}: {answer['error']}")
        return answer["result"]

    async def _evaluate(self, expression: str) -> Any:
        found = await self._tell(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            why = found["exceptionDetails"].get("exception", {})
            raise PeerError(f"Chromium: {why.get('description', found)}")
        return found["result"].get("value")

    async def ask(self, what: str, **members: Any) -> Any:
        return await self._evaluate(f"window.peers.{what}({json.dumps(members)})")

    async def ask_gateway(
        self, port: int, method: str, path: str, description: str = ""
    ) -> http.Response:
        """Let the page, which belongs to another site, make a request."""
        url = f"http://127.0.0.1:{port}{path}"
        said = await self.ask("ask", method=method, url=url, sdp=description)
        return http.Response(
            said["status"], {"location": said["location"]}, said["body"]
        )

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None and self._process.returncode is None:
            # All of its processes are in one session.
            os.killpg(self._process.pid, 9)
        shutil.rmtree(self._folder, ignore_errors=True)
