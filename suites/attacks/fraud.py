"""
Attacks by a caller, or by a holder of the admin token: calls to expensive numbers, and
escape sequences for the terminal of an operator who looks at calls.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from suites.attacks.beside import CALLS, beside
from suites.faults.lines import Stream
from suites.faults.playing import Play
from suites.faults.processes import Gateway, until
from suites.faults.scene import Scene

TOKEN = secrets.token_hex(32)
ADMIN = {"CHIMEGW_ADMIN_TOKEN": TOKEN}

#: The same premium numbers in many notations, and hosts that are not allowed.
NOWHERE = (
    *("+19005551234", "0019005551234", "011449098765432", "+49 900 1234567"),
    *("tel:+1-900-555-1234", "sip:+19005551234@127.0.0.1", "sip:*67+19005551234@h"),
    *("sip:%2B19005551234@127.0.0.1", "sip:9005551234@127.0.0.1", "+8816123456"),
    *("+442071234567", "sip:office@pbx.example.evil.example", "sip:+49301234@evil"),
    "sip:office@pbx.example;maddr=127.0.0.9",
)
#: These may be called, although nobody answers there.
SOMEWHERE = ("+4930123456", "0049 30 123456", "sip:office@pbx.example")

BOUNDS = """
[transfer]
allow = ["+49", "sip:@pbx.example"]
[sip.trunk]
host = "127.0.0.1"
port = 9
"""

#: ESC, BEL, CSI as one character, line breaks, a mark that reverses the text direction.
ORDERS = "\x1b]0;x\x07\x9b2J\x1b[1A\u2028\u202e\r\nfaked 2026-01-01 completed"


def ask(url: str, body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def asked(gateway: Gateway, path: str, body: Any = None) -> tuple[int, Any]:
    """Send a request with the token to the API."""
    url = f"http://127.0.0.1:{gateway.port}/api/{path}"
    return await asyncio.to_thread(ask, url, body)


async def calls_that_cost(scene: Scene, gateway: Gateway) -> None:
    """Transfers and calls to premium numbers, and to targets that are not allowed."""
    line = scene.line(gateway, "stream")
    await line.place()
    scene.lines.append(line)
    await scene.answered([line], "the call to be transferred")
    status, page = await asked(gateway, "calls?state=live&limit=1")
    scene.expect(status == 200, f"the list of calls: {status}")
    call_id = page["calls"][0]["call_id"]
    seen: Counter[str] = Counter()
    for _ in range(1 if scene.is_short else 5):
        for target in NOWHERE:
            for path, body in (
                (f"calls/{call_id}/transfer", {"target": target}),
                ("calls", {"to": target}),
            ):
                status, answer = await asked(gateway, path, body)
                is_bound = "[transfer]" in answer.get("detail", "")
                # An invalid address is refused by the request's schema.
                seen["refused" if is_bound or status in (404, 422) else "taken"] += 1
                scene.expect(
                    is_bound or status in (404, 422), f"{path} {target}: {answer}"
                )
    for _ in range(10 * CALLS // (3 if scene.is_short else 1)):
        target = scene.rng.choice(SOMEWHERE)
        _, answer = await asked(
            gateway, f"calls/{call_id}/transfer", {"target": target}
        )
        scene.counts["legitimate"] += 1
        if "[transfer]" in answer.get("detail", ""):
            scene.counts["legitimate refused"] += 1
            scene.expect(False, f"{target} was refused: {answer}")
    print(f"{scene.name:24} {dict(seen)}", flush=True)


async def shown(gateway: Gateway, *words: str) -> str:
    """Return the output of a command about the gateway's calls."""
    program = Path(sys.executable).with_name("chimegw")
    environ = {
        **os.environ,
        "CHIMEGW_STATE": str(gateway.state),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONUTF8": "1",
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(program), *words],
        env=environ,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.stdout.decode() + done.stderr.decode()


async def orders_to_a_terminal(scene: Scene, gateway: Gateway) -> None:
    """Callers whose numbers are escape sequences, and an operator who lists calls."""
    # A terminal would execute the caller's number.
    lines = [
        Stream(gateway.port, caller=ORDERS, called=ORDERS, x=ORDERS) for _ in range(4)
    ]
    for line in lines:
        await line.place()
        scene.lines.append(line)
    await scene.answered(lines, "calls with escape sequences")
    scene.counts["legitimate"] += len(lines)
    for line in lines:
        await line.hang_up()
    await until(lambda: len(gateway.rows()) >= len(lines), 30.0)
    rows = [row for row in gateway.rows() if "\x1b" in row.caller + row.called]
    scene.expect(rows, "no record has an escape sequence in a number")
    texts = [gateway.log]
    texts += [await shown(gateway, word) for word in ("calls", "export")]
    texts += [await shown(gateway, "show", row.call_id) for row in rows[:1]]
    for text in texts:
        odd = [c for c in set(text) - set("\n\r") if not c.isprintable()]
        scene.expect(not odd, f"printed {odd!r}")
        faked = [one for one in text.splitlines() if one.startswith("faked")]
        scene.expect(not faked, f"a line forged by a caller: {faked}")
    print(f"{scene.name:24} {len(rows)} callers, {len(texts)} outputs", flush=True)
    modes = {
        oct(path.stat().st_mode & 0o7777)
        for path in gateway.state.rglob("*")
        if path.is_file()
    }
    scene.expect(modes == {"0o600"}, f"modes of files: {modes}")


SCENES: dict[str, Play] = {
    "calls that cost": beside(calls_that_cost, BOUNDS, **ADMIN),
    "orders to a terminal": beside(orders_to_a_terminal),
}
