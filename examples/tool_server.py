"""
The server of an HTTP tool, in one file, with the standard library only.

    ORDER_SECRET=... python3 examples/tool_server.py --port 9000

The gateway posts the model's arguments here (docs/reference/tools.md).  The answer,
JSON or plain text, goes to the model as it is.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: An older request may be a replay of a recorded one.
MAX_AGE_SECONDS = 300

MAX_BODY_BYTES = 1_000_000

ORDERS = {4711: "on its way; it arrives on Friday", 4712: "delivered on Monday"}


def is_signed(secret: str, headers: Any, body: bytes, now: float) -> bool:
    """Return whether the gateway signed it just now (standardwebhooks.com)."""
    message_id = headers.get("Webhook-Id", "")
    timestamp = headers.get("Webhook-Timestamp", "")
    if not timestamp.isascii() or not timestamp.isdecimal():
        return False
    if abs(now - int(timestamp[:20])) > MAX_AGE_SECONDS:
        return False
    key = secret.encode()
    if secret.startswith("whsec_"):
        key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    # While a secret is being changed there are several signatures, space-separated.
    given = headers.get("Webhook-Signature", "").encode("utf-8", "replace").split()
    return any(hmac.compare_digest(one, expected) for one in given)


def order_status(arguments: dict[str, Any]) -> dict[str, Any]:
    """The tool itself; the gateway has already checked the types of the arguments."""
    number = arguments["number"]
    return {"number": number, "status": ORDERS.get(number, "there is no such order")}


class ToolHandler(BaseHTTPRequestHandler):
    # Lets one connection serve many requests.
    protocol_version = "HTTP/1.1"
    secret = ""

    def do_POST(self) -> None:
        status, document = self.result()
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def result(self) -> tuple[int, dict[str, Any]]:
        """Return the status and the document of the answer."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return 413, {"error": "the body is too large, or has no length"}
        body = self.rfile.read(int(length))
        if not is_signed(self.secret, self.headers, body, time.time()):
            return 401, {"error": "the signature is wrong"}
        if self.path != "/tools/order_status":
            return 404, {"error": "there is no such tool"}
        request = json.loads(body)
        result = order_status(request["arguments"])
        print(f"call {request['call']['call_id']}: order {result}", flush=True)
        return 200, result

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: each order prints a line of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The server of the tool order_status.")
    parser.add_argument("--port", type=int, default=9000)
    port = parser.parse_args().port
    ToolHandler.secret = os.environ.get("ORDER_SECRET", "")
    if not ToolHandler.secret:
        raise SystemExit("ORDER_SECRET is not set: anybody could send requests")
    server = ThreadingHTTPServer(("127.0.0.1", port), ToolHandler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
