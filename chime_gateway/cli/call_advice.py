"""Tells a caller what to check when a call was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

#: How a media stream is closed whose caller has not proved himself.
_UNKNOWN_CALLER: Final = 4401

#: A part of what a line says, and what is meant by it.
_CURES: Final[Mapping[str, str]] = {
    "certificate verify failed": "the certificate has to name {host} as a"
    " subjectAltName and come from an authority that this machine knows;"
    " SSL_CERT_FILE=FILE.pem adds one of your own",
    "wrong version number": "no TLS is spoken there: write ws://",
    "refused by other side": "does a gateway listen at {netloc}?",
    "DNS lookup failed": "is {host} the right name?",
    "[404]": "is {path} the right path? There are /stream and /stream/raw",
}
_SECRET: Final = ("[401]", "[403]", "401 ", "403 ")


def advice(url: str, error: str, close_code: int | None, *, has_secret: bool) -> str:
    """
    @param error: why there was no call; empty: there was one.
    @param has_secret: one was shown.
    @return: empty: there is nothing to be said.
    """
    is_http = not url.startswith("sip")
    is_unknown = close_code == _UNKNOWN_CALLER or any(one in error for one in _SECRET)
    if is_unknown and is_http:
        return (
            "CHIMEGW_SHARED_SECRET is not the one of the gateway"
            if has_secret
            else "set CHIMEGW_SHARED_SECRET to the one of the gateway"
        )
    parts = urlsplit(url)
    for part, cure in _CURES.items():
        if part in error:
            return cure.format(
                host=parts.hostname, netloc=parts.netloc, path=parts.path
            )
    return ""
