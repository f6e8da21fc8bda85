"""
A server under test: a process on its own core, and measurements of it.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import Certificates

HERE = Path(__file__).parent
ROOT = HERE.parent

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def free_udp_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(
    server: str,
    port: int,
    agent_port: int,
    *,
    root: Path | None = None,
    agent_tls: bool = False,
    carrier_tls: Certificates | None = None,
) -> list[str]:
    """
    Return the command line that starts a server.

    @param root: a checkout, whose gateway alone is used; None: the usual command.
    @param carrier_tls: callers connect over TLS.
    """
    scheme = "wss" if agent_tls else "ws"
    url = f"{scheme}://127.0.0.1:{agent_port}/openai/v1/realtime?model=benchmark"
    pem = [str(carrier_tls.chain), str(carrier_tls.key)] if carrier_tls else []
    if server == "node":
        return ["node", str(HERE / "relay_node.js"), str(port), url, *pem]
    if server == "aiortc":
        return [sys.executable, str(HERE / "relay_aiortc.py"), str(port), url]
    if server == "relay":
        return [sys.executable, str(HERE / "relay_picows.py"), str(port), url, *pem]
    listen = ["--port", str(port)]
    if carrier_tls is not None:
        files = f"privateKey={carrier_tls.key}:certKey={carrier_tls.chain}"
        listen = ["--listen", f"ssl:{port}:{files}:interface=127.0.0.1"]
    start = ["-m", "twisted", "chimegw"]
    if root is not None:
        start = [str(HERE / "checkout.py"), str(root)]
    config = (root or ROOT) / "benchmarks" / "bench.toml"
    return [
        *(sys.executable, *start, *listen),
        *("--insecure", "--config", str(config)),
    ]


def server_env(
    agent_port: int,
    sip_port: int,
    *,
    keeps: bool = False,
    root: Path = ROOT,
    agent_over: str = "websocket",
    takes_webrtc: bool = False,
    agent_tls: Certificates | None = None,
    sip_transport: str = "udp",
) -> dict[str, str]:
    """
    Return the environment of a server.

    @param keeps: calls are recorded.
    @param root: the checkout of a gateway.
    @param agent_over: C{websocket} or C{webrtc}.
    @param takes_webrtc: callers may connect over WebRTC.
    @param agent_tls: the agent is reached over TLS.
    @param sip_transport: C{udp}, C{tcp} or C{tls}; the last needs a certificate.
    """
    over_webrtc = {}
    if agent_over == "webrtc":
        over_webrtc = {"AZURE_OPENAI_TRANSPORT": "webrtc"}
    if takes_webrtc:
        over_webrtc |= {
            "CHIMEGW_WEBRTC_LISTEN": f"udp:{free_udp_port()}:interface=127.0.0.1",
            "CHIMEGW_PUBLIC_ADDRESS": "127.0.0.1",
        }
    trust = {}
    if agent_tls is not None:
        authority = str(agent_tls.authority)
        trust = {"SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority}
    listen = f"{sip_transport}:{sip_port}:interface=127.0.0.1"
    if sip_transport == "tls":
        # If all listeners use TLS, plain RTP is refused.
        listen += f",udp:{free_udp_port()}:interface=127.0.0.1"
    state = tempfile.mkdtemp(prefix="chimegw-bench-")
    # Two gateways may run at once, so each uses another port range.
    rtp_port = 20_000 + 2 * random.randrange(3_000)
    return {
        **os.environ,
        "PYTHONPATH": str(root),
        "CHIMEGW_STATE": state,
        **({"CHIMEGW_RECORDINGS": f"{state}/recordings"} if keeps else {}),
        "AZURE_OPENAI_ENDPOINT": (
            f"http{'s' if agent_tls else ''}://127.0.0.1:{agent_port}"
        ),
        "AZURE_OPENAI_DEPLOYMENT": "benchmark",
        "AZURE_OPENAI_API_KEY": "benchmark",
        "CHIMEGW_SIP_LISTEN": listen,
        "CHIMEGW_SIP_ALLOW": "127.0.0.0/8",
        "CHIMEGW_RTP_PORTS": f"{rtp_port}-{rtp_port + 3_999}",
        **over_webrtc,
        **trust,
    }


@contextmanager
def running(
    arguments: list[str], env: dict[str, str], core: int
) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a program on one core; afterwards end it with its children and remove its state.

    It does not outlive this process, however this process ends.
    """
    libc = ctypes.CDLL(None)
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *arguments],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL),
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(env["CHIMEGW_STATE"], ignore_errors=True)


def cpu_seconds(pid: int) -> float:
    """Return user and system time of all threads, from the scheduler's clock."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_mb(pid: int, what: str) -> float:
    """
    Return the memory of a process in MB.

    @param what: C{VmRSS}: all resident memory; C{RssAnon}: the part without files.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    return 0.0


def rss_mb(pid: int) -> float:
    return memory_mb(pid, "VmRSS")


def stolen_and_all() -> tuple[int, int]:
    """Return clock ticks stolen by the host, and the total."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()
    ticks = [int(value) for value in first[1:9]]
    return ticks[7], sum(ticks)


def held(port: int, token: str = "") -> dict[str, int]:
    """
    Read from the metrics what the gateway holds, with the admin token if it has one.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{port}/metrics"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as page:
        text = page.read().decode()
    found: Counter[str] = Counter()
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("chimegw_sip_held{"):
            found[name.split('"')[1]] += int(float(value))
        elif name.startswith("chimegw_calls_active"):
            found["calls"] += int(float(value))
    return dict(found)


def wait_for(port: int, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port} after {seconds} s")


def quantile_ms(seconds: list[float], share: float) -> float:
    if not seconds:
        return float("nan")
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
