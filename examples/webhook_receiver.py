"""
A webhook receiver, in one file, with the standard library only.

    CRM_SECRET=... python3 examples/webhook_receiver.py --port 9001

The gateway posts each event here (docs/reference/webhooks.md), in order for each call,
and repeats it until it gets a 2xx.  So the receiver answers at once, and remembers the
events that it has seen.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import time
from collections import OrderedDict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

#: An older request may be a replay of a recorded one.
MAX_AGE_SECONDS = 300

MAX_BODY_BYTES = 10_000_000

#: The number of ids remembered; a real receiver keeps them in its database.
MAX_SEEN = 10_000


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


def event_received(event: dict[str, Any]) -> None:
    """Process a new event: replace this with your own code."""
    print(f"{event['type']} of call {event['call_id']}", flush=True)
    if event["type"] == "call.ended":
        for turn in event["data"]["transcript"]:
            print(f"  {turn['speaker']}: {turn['text']}", flush=True)


class WebhookHandler(BaseHTTPRequestHandler):
    # Lets one connection serve many requests.
    protocol_version = "HTTP/1.1"
    secret = ""
    seen: ClassVar[OrderedDict[str, None]] = OrderedDict()

    def do_POST(self) -> None:
        status, event = self.result()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.flush()
        # The event is accepted: the gateway does not see errors from here on.
        if event is not None:
            event_received(event)

    def result(self) -> tuple[int, dict[str, Any] | None]:
        """Return the status of the answer, and the event if it is new."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            return 413, None
        body = self.rfile.read(int(length))
        if not is_signed(self.secret, self.headers, body, time.time()):
            return 401, None
        message_id = self.headers["Webhook-Id"]
        if message_id in self.seen:
            return 200, None
        self.seen[message_id] = None
        if len(self.seen) > MAX_SEEN:
            self.seen.popitem(last=False)
        return 200, json.loads(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: each event prints a line of its own."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A webhook receiver.")
    parser.add_argument("--port", type=int, default=9001)
    port = parser.parse_args().port
    WebhookHandler.secret = os.environ.get("CRM_SECRET", "")
    if not WebhookHandler.secret:
        raise SystemExit("CRM_SECRET is not set: anybody could send events")
    server = ThreadingHTTPServer(("127.0.0.1", port), WebhookHandler)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
