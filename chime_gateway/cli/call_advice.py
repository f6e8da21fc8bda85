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
    "wrong version number": "that port does not use TLS: write ws:// or http://",
    "packet length too long": "that port does not use TLS: write ws:// or http://",
    "opening handshake timeout": "check that a gateway is listening at {netloc}; if"
    " that port does not use TLS, write ws://",
    "refused by other side": "check that a gateway is listening at {netloc}",
    "DNS lookup failed": "check the name {host}",
    "does not answer": "check that a gateway is listening at {netloc}, over UDP unless"
    " the address ends in ;transport=tcp, and that its CHIMEGW_SIP_ALLOW has this"
    " machine's address",
    "[404]": "check the path {path}: there are /stream and /stream/raw",
}
_REFUSED: Final = ("[401]", "[403]", "401 ", "403 ")


def advice(
    url: str,
    error: str,
    close_code: int | None,
    *,
    has_secret: bool,
    has_call_secret: bool = False,
) -> str:
    """
    Return what to do after a failed call; empty if there is no advice.

    @param error: why the call failed; empty: it did not.
    @param has_secret: the secret of media streams and offers was sent.
    @param has_call_secret: the secret of SIP calls was used.
    """
    parts = urlsplit(url)
    is_sip = parts.scheme == "sip"
    was_refused = any(error.startswith(one) or f" {one}" in error for one in _REFUSED)
    if close_code == _UNKNOWN_CALLER or was_refused:
        name = "CHIMEGW_CALL_SECRET" if is_sip else "CHIMEGW_SHARED_SECRET"
        is_wrong = has_call_secret if is_sip else has_secret
        others = ", or CHIMEGW_VOICE_CONNECTORS of the gateway refuses the call"
        if not is_wrong:
            return f"set {name} to the gateway's"
        return (
            f"{name} differs from the gateway's: set it to the same value"
            f"{others if is_sip else ''}"
        )
    netloc = parts.netloc or parts.path.rpartition("@")[2].partition(";")[0]
    for part, cure in _CURES.items():
        if part in error:
            host = parts.hostname or netloc.rpartition(":")[0]
            return cure.format(host=host, netloc=netloc, path=parts.path)
    return ""
