"""The gateway, the simulated service, and other servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from load import Service, posted
from picows import ws_create_server
from server import free_port, held, server_env, wait_for

from chime_gateway.store.database import Database
from chime_gateway.store.queries import CallQuery
from chime_gateway.store.rows import CallRow

#: A page that has not been answered by then is treated as not answered.
PAGE_SECONDS = 8.0

#: Time after the last call for closing connections and for transactions, which live for
#: 64 * T1.
LINGER_SECONDS = 40.0

#: Time from SIGTERM for a drain with its goodbyes, and for pending writes.
STOP_SECONDS = 30.0

#: T1 is a twentieth of the default, so that state that lives for 64 * T1 is soon gone.
#: The overload limits are high, so that other loads on the machine cause no refusals.
SETTINGS = """
[limits]
max_calls = 500
max_cpu = 2.0
max_late_seconds = 1.0
drain_seconds = 2.0
goodbye_seconds = 1.0
agent_connect_seconds = {connect_seconds}
[sip]
calls_per_second = 1000.0
t1_seconds = 0.05
"""

_LEFT_OUT = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_API_KEY")


async def until(is_so: Callable[[], Any], seconds: float, pause: float = 0.1) -> bool:
    """
    Wait for a condition.

    @param is_so: the condition; may be a coroutine function.
    @return: whether it was met in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = is_so()
        if asyncio.iscoroutine(found):
            found = await found
        if found or time.monotonic() > deadline:
            return bool(found)
        await asyncio.sleep(pause)


async def page(port: int, path: str) -> tuple[int, str]:
    """
    Fetch a page.

    @return: status and body; status 0: no answer within L{PAGE_SECONDS}.
    """
    writer = None
    try:
        async with asyncio.timeout(PAGE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            text = (await reader.read()).decode()
    except (OSError, TimeoutError) as error:
        return 0, repr(error)
    finally:
        if writer is not None:
            writer.close()
    head, _, body = text.partition("\r\n\r\n")
    return (int(head.split()[1]), body) if head else (0, "the connection was closed")


def deployment(name: str, endpoint: str, priority: int, key: str = "chaos") -> str:
    """Return the deployment's table for the TOML file."""
    return (
        f"[deployments.{name}]\nendpoint = '{endpoint}'\ndeployment = 'chaos'\n"
        f"api_key = '{key}'\npriority = {priority}\n"
    )


class Gateway:
    """
    A gateway process, started as in production.

    @param options: command-line options; by default no secret is needed.
    @param certificate: certificate and key, PEM: the gateway also listens for SIP over
        TLS.
    @ivar tls_port: the port of SIP over TLS; 0: none.
    @ivar call_secret: the secret for proofs of SIP calls; empty: none is needed.
    @ivar log: the complete log; empty if standard output goes elsewhere.
    """

    def __init__(
        self,
        name: str,
        settings: str,
        *,
        connect_seconds: float = 15.0,
        options: Sequence[str] = ("--insecure",),
        out: int | IO[bytes] | None = None,
        certificate: bytes = b"",
        **env: str,
    ) -> None:
        self.port, self.sip_port = free_port(), free_port()
        self.tls_port = free_port() if certificate else 0
        folder = Path(tempfile.mkdtemp(prefix=f"chimegw-chaos-{name}-"))
        ways = {"udp": self.sip_port, "tcp": self.sip_port}
        sip = {}
        if certificate:
            ways["tls"] = self.tls_port
            sip["CHIMEGW_SIP_CERTIFICATE"] = str(folder / "certificate.pem")
            (folder / "certificate.pem").write_bytes(certificate)
        sip["CHIMEGW_SIP_LISTEN"] = ",".join(
            f"{way}:{port}:interface=127.0.0.1" for way, port in ways.items()
        )
        self._env = server_env(0, self.sip_port) | sip | env
        for left_out in _LEFT_OUT:
            del self._env[left_out]
        self.state = Path(self._env["CHIMEGW_STATE"])
        self._token = self._env.get("CHIMEGW_ADMIN_TOKEN", "")
        self.call_secret = self._env.get("CHIMEGW_CALL_SECRET", "")
        config = folder / "gateway.toml"
        common = SETTINGS.format(connect_seconds=connect_seconds)
        config.write_text(common + settings)
        self.log_path = folder / "gateway.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, str(Path(sys.executable).with_name("twistd"))),
                    *("-n", "--pidfile=", "chimegw", *options),
                    *("--port", str(self.port), "--config", str(config)),
                ],
                env=self._env,
                stdout=log if out is None else out,
                stderr=subprocess.STDOUT if out is None else log,
            )
        self.is_told_to_stop = False

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    async def listens(self) -> None:
        try:
            await asyncio.to_thread(wait_for, self.port, 60.0)
        except SystemExit as error:
            raise RuntimeError(f"{error}: {self.log[-2000:]}") from None

    async def health(self) -> tuple[int, dict[str, Any]]:
        status, body = await page(self.port, "/health")
        return status, json.loads(body) if status else {}

    async def ready(self) -> tuple[int, str]:
        return await page(self.port, "/ready")

    async def is_ready(self) -> bool:
        return (await self.ready())[0] == 200

    async def is_not_ready(self) -> bool:
        return (await self.ready())[0] == 503

    async def held(self) -> dict[str, int]:
        """Wait until the gateway holds nothing or the time is over; return the rest."""
        found: dict[str, int] = {}

        async def is_nothing() -> bool:
            nonlocal found
            try:
                found = await asyncio.to_thread(held, self.port, self._token)
            except OSError as error:
                found = {f"no metrics: {error!r}": 1}
            return not any(found.values())

        await until(is_nothing, LINGER_SECONDS, 0.5)
        return {what: count for what, count in found.items() if count}

    def rows(self) -> list[CallRow]:
        """Return the records of ended calls."""
        url = self._env.get("CHIMEGW_DATABASE_URL")
        database = Database(url or f"sqlite:///{self.state}/chimegw.sqlite", self.state)
        try:
            return database.calls(CallQuery(limit=100_000, state="ended"))
        finally:
            database.close()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self) -> str:
        """
        Stop the gateway with SIGTERM.

        @return: what was wrong; empty: nothing.
        """
        self.is_told_to_stop = True
        self.send(signal.SIGTERM)
        if not await until(lambda: self.process.poll() is not None, STOP_SECONDS):
            return f"it still ran {STOP_SECONDS:g} s after SIGTERM"
        status = self.process.returncode
        return f"it ended with status {status}" if status else ""

    def kill(self) -> None:
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGKILL)
        self.process.wait()


class Simulator:
    """C{chimegw simulate-azure} in a separate process."""

    def __init__(self, port: int, *options: str) -> None:
        self.port = port
        program = "from chime_gateway.cli.main import main; main()"
        arguments = ["simulate-azure", "--port", str(port), *options]
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, "PYTHONPATH": server_env(0, 0)["PYTHONPATH"]},
            stdout=subprocess.DEVNULL,
        )

    async def listens(self) -> None:
        await asyncio.to_thread(wait_for, self.port, 60.0)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Echoes:
    """A healthy service in this process, which echoes each frame at once."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._server: Any = None

    async def listen(self) -> None:
        self._server = await ws_create_server(
            lambda _: Service(), "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Accept no more connections; existing ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None


class Receiver:
    """
    Receives webhooks.

    @ivar ended: the calls whose C{call.ended} it received.
    """

    def __init__(self, *, is_stuck: bool = False) -> None:
        self._is_stuck = is_stuck
        self.ended: set[str] = set()
        self.asked = 0
        self._server: Any = None
        self.url = ""

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def _serve(self, reader: asyncio.StreamReader, writer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                told = await posted(reader)
                self.asked += 1
                if self._is_stuck:
                    await reader.read()  # until the other side gives up
                    break
                if told["type"] == "call.ended":
                    self.ended.add(told["call_id"])
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
