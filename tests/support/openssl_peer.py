"""
The other side of TLS, by C functions of the system's OpenSSL.  Unlike pyOpenSSL and
Python's C{ssl}, they offer key updates, tickets and records of any length.  It is also
another version than the one that is bundled with pyOpenSSL.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from typing import Any, Final

_NAME: Final = ctypes.util.find_library("ssl")

#: Why tests with it are skipped; C{None}: they are not.
MISSING: Final = None if _NAME else "no libssl on this system"

TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304

#: Commands of C{SSL_CTX_ctrl} (C{ssl.h}).
_MIN_VERSION, _MAX_VERSION, _MAX_FRAGMENT = 123, 124, 52

_BIO_PENDING: Final = 10
_PEM: Final = 1
_WANT_READ, _ZERO_RETURN = 2, 6
_512: Final = 1
_KEY_UPDATE_NOT_REQUESTED, _KEY_UPDATE_REQUESTED = 0, 1


def _functions() -> Any:
    library = ctypes.CDLL(_NAME)
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("TLS_method", pointer, ()),
        ("SSL_CTX_new", pointer, (pointer,)),
        ("SSL_CTX_free", None, (pointer,)),
        ("SSL_CTX_ctrl", ctypes.c_long, (pointer, number, ctypes.c_long, pointer)),
        ("SSL_CTX_set_tlsext_max_fragment_length", number, (pointer, ctypes.c_uint8)),
        ("SSL_CTX_use_certificate_file", number, (pointer, text, number)),
        ("SSL_CTX_use_PrivateKey_file", number, (pointer, text, number)),
        ("SSL_new", pointer, (pointer,)),
        ("SSL_free", None, (pointer,)),
        ("SSL_set_bio", None, (pointer, pointer, pointer)),
        ("SSL_set_accept_state", None, (pointer,)),
        ("SSL_set_connect_state", None, (pointer,)),
        ("SSL_do_handshake", number, (pointer,)),
        ("SSL_read", number, (pointer, text, number)),
        ("SSL_write", number, (pointer, text, number)),
        ("SSL_get_error", number, (pointer, number)),
        ("SSL_key_update", number, (pointer, number)),
        ("SSL_new_session_ticket", number, (pointer,)),
        ("SSL_renegotiate", number, (pointer,)),
        ("SSL_shutdown", number, (pointer,)),
        ("SSL_get_version", text, (pointer,)),
        ("BIO_new", pointer, (pointer,)),
        ("BIO_s_mem", pointer, ()),
        ("BIO_read", number, (pointer, text, number)),
        ("BIO_write", number, (pointer, text, number)),
        ("BIO_ctrl", ctypes.c_long, (pointer, number, ctypes.c_long, pointer)),
        ("ERR_clear_error", None, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class OpensslPeer:
    """
    One end of TLS in memory.

    @param certificate: the file with the certificate and the key of a server; C{None}:
        this is a client.
    @param shortest: a client asks for records of at most 512 bytes (RFC 6066 section
        4); a server complies.
    @ivar heard: the data received.
    @ivar is_over: the other side has ended the connection by an alert.
    """

    def __init__(
        self, version: int, certificate: str | None = None, *, shortest: bool = False
    ) -> None:
        self._c = c = _functions()
        self._context = c.SSL_CTX_new(c.TLS_method())
        for what in (_MIN_VERSION, _MAX_VERSION):
            c.SSL_CTX_ctrl(self._context, what, version, None)
        if certificate is not None:
            path = certificate.encode()
            assert c.SSL_CTX_use_certificate_file(self._context, path, _PEM) == 1
            assert c.SSL_CTX_use_PrivateKey_file(self._context, path, _PEM) == 1
        if shortest:
            assert c.SSL_CTX_set_tlsext_max_fragment_length(self._context, _512) == 1
        self._ssl = c.SSL_new(self._context)
        self._in, self._out = (c.BIO_new(c.BIO_s_mem()) for _ in range(2))
        c.SSL_set_bio(self._ssl, self._in, self._out)
        if certificate is None:
            c.SSL_set_connect_state(self._ssl)
        else:
            c.SSL_set_accept_state(self._ssl)
        c.SSL_do_handshake(self._ssl)
        self.heard = b""
        self.is_over = False

    def free(self) -> None:
        self._c.SSL_free(self._ssl)
        self._c.SSL_CTX_free(self._context)

    def records(self) -> bytes:
        """Return the records to send."""
        size = self._c.BIO_ctrl(self._out, _BIO_PENDING, 0, None)
        buffer = ctypes.create_string_buffer(max(1, size))
        self._c.BIO_read(self._out, buffer, size)
        return buffer.raw[:size]

    def feed(self, records: bytes) -> None:
        """Receive data."""
        c = self._c
        if records:
            c.BIO_write(self._in, records, len(records))
        buffer = ctypes.create_string_buffer(20_000)
        while not self.is_over:
            c.ERR_clear_error()
            size = c.SSL_read(self._ssl, buffer, len(buffer))
            if size > 0:
                self.heard += buffer.raw[:size]
                continue
            self.is_over = c.SSL_get_error(self._ssl, size) != _WANT_READ
            return

    def write(self, data: bytes, most: int = 16_384) -> None:
        """Write data in records of C{most} bytes."""
        for at in range(0, len(data), most):
            piece = data[at : at + most]
            assert self._c.SSL_write(self._ssl, piece, len(piece)) == len(piece)

    def update_key(self, *, both: bool) -> None:
        """TLS 1.3: change the own key, and ask the other side to change its key."""
        kind = _KEY_UPDATE_REQUESTED if both else _KEY_UPDATE_NOT_REQUESTED
        assert self._c.SSL_key_update(self._ssl, kind) == 1
        self._c.SSL_do_handshake(self._ssl)

    def negotiate_again(self) -> None:
        """TLS 1.2: ask the other side for new keys, which it may refuse."""
        assert self._c.SSL_renegotiate(self._ssl) == 1
        self._c.SSL_do_handshake(self._ssl)

    def send_ticket(self) -> None:
        """TLS 1.3, as a server: send one more ticket for a later session."""
        assert self._c.SSL_new_session_ticket(self._ssl) == 1
        self._c.SSL_do_handshake(self._ssl)

    def say_goodbye(self) -> None:
        """Send C{close_notify}."""
        self._c.SSL_shutdown(self._ssl)

    @property
    def version(self) -> str:
        return str(self._c.SSL_get_version(self._ssl).decode())
