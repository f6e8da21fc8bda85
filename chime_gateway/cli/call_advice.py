"""Tells the user of C{chimegw call} what to check when a call was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

#: The close code of a media stream without valid credentials.
_UNKNOWN_CALLER: Final = 4401

#: A part of an error -> what to do.
_CURES: Final[Mapping[str, str]] = {
    "certificate verify failed": "the certificate must name {host} as a"
    " subjectAltName and come from an authority that this machine trusts;"
    " SSL_CERT_FILE=FILE.pem adds one of your own",
    "wrong version number": "that port does not use TLS: write ws://",
    "refused by other side": "check that a gateway is listening at {netloc}",
    "DNS lookup failed": "check the name {host}",
    "[404]": "check the path {path}: there are /stream and /stream/raw",
}
_SECRET: Final = ("[401]", "[403]", "401 ", "403 ")


def advice(url: str, error: str, close_code: int | None, *, has_secret: bool) -> str:
    """
    Return what to do after a failed call; empty if there is no advice.

    @param error: why the call failed; empty: it did not.
    @param has_secret: a secret was sent.
    """
    is_http = not url.startswith("sip")
    is_unknown = close_code == _UNKNOWN_CALLER or any(one in error for one in _SECRET)
    if is_unknown and is_http:
        return (
            "CHIMEGW_SHARED_SECRET differs from the gateway's: set it to the same value"
            if has_secret
            else "set CHIMEGW_SHARED_SECRET to the gateway's"
        )
    parts = urlsplit(url)
    for part, cure in _CURES.items():
        if part in error:
            return cure.format(
                host=parts.hostname, netloc=parts.netloc, path=parts.path
            )
    return ""
