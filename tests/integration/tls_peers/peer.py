"""
The other side of a WebSocket over TLS, on Python's C{ssl} without the gateway's code:
the echo must be what was sent.  Run as a program::

    peer.py ROLE VERSION PORT SCENARIO CERTIFICATE

It prints the port if it listens, then the result of the scenario.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import ssl
import struct
import sys

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    def __init__(self, role: str, version: str, port: int, certificate: str) -> None:
        self.is_client = role == "client"
        context = ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT if self.is_client else ssl.PROTOCOL_TLS_SERVER
        )
        wanted = ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
        context.minimum_version = context.maximum_version = wanted
        if self.is_client:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.socket = socket.create_connection(("127.0.0.1", port))
        else:
            context.load_cert_chain(certificate)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                print(listener.getsockname()[1], flush=True)
                self.socket = listener.accept()[0]
        self.socket.settimeout(30)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=not self.is_client
        )
        self.plain = b""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.move()
        self.flush()

    # -- TLS -------------------------------------------------------------------------

    def flush(self, most: int = 1 << 30) -> None:
        """Send the records, in pieces of at most this size."""
        data = self.outgoing.read()
        for at in range(0, len(data), most):
            self.socket.sendall(data[at : at + most])

    def move(self) -> None:
        self.flush()
        data = self.socket.recv(65_536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def read(self) -> bytes:
        while True:
            try:
                return self.tls.read(65_536)
            except ssl.SSLWantReadError:
                self.move()

    def write(self, data: bytes, record: int = 16_384) -> None:
        for at in range(0, len(data), record):
            self.tls.write(data[at : at + record])

    # -- WebSocket -------------------------------------------------------------------

    def open(self) -> None:
        if self.is_client:
            self.write(
                b"GET /ws HTTP/1.1\r\nHost: gw.test\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        while b"\r\n\r\n" not in self.plain:
            self.plain += self.read()
        head, _, self.plain = self.plain.partition(b"\r\n\r\n")
        if self.is_client:
            assert b" 101 " in head, head
            return
        key = head.lower().partition(b"sec-websocket-key:")[2].split()[0]
        at = head.lower().index(key)
        accept = hashlib.sha1(head[at : at + len(key)] + GUID).digest()
        self.write(
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
        )

    def frame(self, payload: bytes, first: int = 0x82) -> bytes:
        bit = 0x80 if self.is_client else 0
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", first, bit | size)
        elif size < 65_536:
            head = struct.pack("!BBH", first, bit | 126, size)
        else:
            head = struct.pack("!BBQ", first, bit | 127, size)
        if not self.is_client:
            return head + payload
        key = os.urandom(4)
        whole = key * (size // 4 + 1)
        return head + key + bytes(a ^ b for a, b in zip(payload, whole, strict=False))

    def next_frame(self) -> tuple[int, bytes]:
        def need(size: int) -> None:
            while len(self.plain) < size:
                data = self.read()
                assert data, "the connection ended"
                self.plain += data

        need(2)
        first, size, start = self.plain[0], self.plain[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            need(start)
            size = int.from_bytes(self.plain[2:start], "big")
        key = b"\0" * 4
        if self.plain[1] & 0x80:
            need(start + 4)
            key, start = self.plain[start : start + 4], start + 4
        need(start + size)
        payload, self.plain = (
            self.plain[start : start + size],
            self.plain[start + size :],
        )
        whole = key * (size // 4 + 1)
        return first, bytes(a ^ b for a, b in zip(payload, whole, strict=False))

    def expect(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            assert self.next_frame() == (0x82, payload), len(payload)

    # -- scenarios -------------------------------------------------------------------

    def echo(self) -> str:
        media = [b"%03d" % at * 100 for at in range(50)]
        for payload in media:
            self.write(self.frame(payload))
            self.expect([payload])
        large = os.urandom(150_000)  # records of 16 KB, some in one read
        self.write(self.frame(large))
        self.expect([large])
        self.write(self.frame(media[1]), 1)  # records of one byte
        self.expect([media[1]])
        self.write(b"".join(map(self.frame, media)))  # many frames in one record
        self.expect(media)
        for payload in media[:3]:  # one record in many reads
            self.write(self.frame(payload))
            self.flush(7)
        self.expect(media[:3])
        for at in range(200):  # nothing is read, so the gateway's socket gets full
            self.write(self.frame(large[at : at + 10_000]))
            self.flush()
        self.expect([large[at : at + 10_000] for at in range(200)])
        self.write(self.frame(b"\x03\xe8", 0x88))
        assert self.next_frame() == (0x88, b"\x03\xe8")
        return "echoed"

    def half(self) -> bytes:
        self.write(self.frame(b"whole" * 60))
        self.expect([b"whole" * 60])
        return self.frame(b"half" * 100)[:200]

    def goodbye(self) -> str:
        """Send C{close_notify} in the middle of a message."""
        self.write(self.half())
        while True:
            try:
                self.tls.unwrap()
                return "answered"
            except ssl.SSLWantReadError:
                self.move()

    def silent(self) -> str:
        """Send a WebSocket close, but close neither TLS nor TCP."""
        self.write(self.frame(b"\x03\xe8", 0x88))
        assert self.next_frame() == (0x88, b"\x03\xe8")
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return "left"

    def cut(self) -> str:
        """Close TCP in the middle of a record, without close_notify."""
        self.write(self.half())
        self.socket.sendall(self.outgoing.read()[:-20])
        self.socket.shutdown(socket.SHUT_WR)
        while self.socket.recv(4096):
            pass
        return "gone"

    def broken(self) -> str:
        """Send an invalid record."""
        self.write(self.half())
        record = bytearray(self.outgoing.read())
        record[-1] ^= 1
        self.socket.sendall(record)
        try:
            self.read()
        except ssl.SSLError as exc:
            return str(exc.reason)
        return "no alert"

    def reset(self) -> str:
        self.write(self.half())
        self.flush()
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return "reset"


def main() -> None:
    role, version, port, scenario, certificate = sys.argv[1:]
    peer = Peer(role, version, int(port), certificate)
    peer.open()
    print(getattr(peer, scenario)(), flush=True)
    peer.socket.close()


if __name__ == "__main__":
    main()
