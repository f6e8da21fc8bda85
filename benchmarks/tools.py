"""
The delay that the gateway adds to a tool call: from the model's call until the model
has the result, minus the time of the tool's server.

All calls have audio in both directions all the time; in each, the model calls a tool
once per second.  The tool's server answers at once.

    make bench-tools
    make bench-tools BENCH="--calls 100 --seconds 20"
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop
from load import Load, Service, posted
from picows import WSFrame, WSMsgType, WSTransport, ws_create_server
from server import (
    cpu_seconds,
    free_port,
    quantile_ms,
    server_env,
    stolen_and_all,
    wait_for,
)

ROUND_TRIPS: list[float] = []
SERVER: dict[str, tuple[float, float]] = {}


class ToolService(Service):
    """Calls a tool once per second, and measures the time until its result arrives."""

    count = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            payload = frame.get_payload_as_bytes()
            if b"function_call_output" in payload:
                call_id = json.loads(payload)["item"]["call_id"]
                now = time.perf_counter()
                came, left = SERVER.pop(call_id)
                ROUND_TRIPS.append(now - self.sent - (left - came))
                return
            if b"input_audio_buffer.append" in payload[:60]:
                self.count += 1
                if self.count % 50 == id(self) % 50:
                    self.call_tool(transport)
        super().on_ws_frame(transport, frame)

    def call_tool(self, transport: WSTransport) -> None:
        name = f"{id(self)}-{self.count}"
        for event in (
            {"type": "response.created", "response": {"id": f"r{name}"}},
            {
                "type": "response.function_call_arguments.done",
                "response_id": f"r{name}",
                "call_id": name,
                "name": "order",
                "arguments": '{"number": 7}',
            },
            {"type": "response.done", "response": {"id": f"r{name}"}},
        ):
            if "call_id" in event:
                self.sent = time.perf_counter()
            transport.send(WSMsgType.TEXT, json.dumps(event).encode())


async def tool_server(reader: asyncio.StreamReader, writer: Any) -> None:
    """Answer each request at once, on a persistent connection."""
    try:
        while True:
            body = await posted(reader)
            came = time.perf_counter()
            answer = b'{"state":"sent"}'
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer)
            )
            SERVER[body["tool_call_id"]] = came, time.perf_counter()
    except asyncio.IncompleteReadError:
        writer.close()


async def measure(calls: int, seconds: float) -> None:
    service = await ws_create_server(lambda _: ToolService(), "127.0.0.1", 0)
    tools = await asyncio.start_server(tool_server, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{tools.sockets[0].getsockname()[1]}/order"
    port, sip_port = free_port(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="chimegw-bench-"))
    config = folder / "bench.toml"
    config.write_text(
        f"""
        [agents.default]
        tools = ["order"]
        [tools.order]
        description = "Look up an order."
        url = "{url}"
        secret = "0123456789abcdef"
        parameters = {{type = "object", properties = {{number = {{type = "integer"}}}}}}
        [limits]
        max_calls = 2000
        max_cpu = 8
        max_late_seconds = 8
        """
    )
    process = subprocess.Popen(
        [
            *("taskset", "-c", "0", sys.executable, "-m", "twisted", "chimegw"),
            *("--port", str(port), "--insecure", "--config", str(config)),
        ],
        env=server_env(service.sockets[0].getsockname()[1], sip_port),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        await asyncio.sleep(0.5)
        load = Load(f"ws://127.0.0.1:{port}/stream")
        await load.start(calls)
        await asyncio.sleep(2.0)
        ROUND_TRIPS.clear()
        before, began = cpu_seconds(process.pid), time.monotonic()
        stolen, ticks = stolen_and_all()
        await asyncio.sleep(seconds)
        used, lasted = cpu_seconds(process.pid) - before, time.monotonic() - began
        stolen_now, ticks_now = stolen_and_all()
        found = list(ROUND_TRIPS)
        await load.stop()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        service.close()
        tools.close()
    print(
        f"{calls:5} calls: {len(found)} tool calls, added p50"
        f" {quantile_ms(found, 0.5):.2f} ms, p99 {quantile_ms(found, 0.99):.2f} ms;"
        f" CPU {used / lasted / calls * 1000:.2f} ms per call-second;"
        f" {(stolen_now - stolen) / max(1, ticks_now - ticks):.1%} stolen",
        flush=True,
    )


async def run(options: Any) -> None:
    for calls in options.calls:
        await measure(calls, options.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--calls", default="1,10,50")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    options.calls = [int(n) for n in options.calls.split(",")]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    uvloop.run(run(options))


if __name__ == "__main__":
    main()
