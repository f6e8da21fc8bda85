"""A call from a softphone with SRTP, and keys in its SDP (RFC 4568)."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any, Final

from pylibsrtp import Policy, Session

from chime_gateway.sim.caller.sip_line import SipCall

_SUITE: Final = "AES_CM_128_HMAC_SHA1_80"

#: Size of that suite's key and salt together (RFC 4568 section 6.2).
_KEY_BYTES: Final = 30


def _session(key: bytes, kind: int) -> Session:
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    return Session(Policy(key=key, ssrc_type=kind, srtp_profile=profile))


class SrtpCall(SipCall):
    """A L{SipCall} with SRTP and its keys."""

    def __init__(
        self, *args: Any, send_rtp: Callable[[bytes, Any], None], **members: Any
    ) -> None:
        self._key = os.urandom(_KEY_BYTES)
        protect = _session(self._key, Policy.SSRC_ANY_OUTBOUND).protect
        self._theirs: Session | None = None

        def send(packet: bytes, address: tuple[str, int]) -> None:
            send_rtp(protect(packet), address)

        super().__init__(*args, send_rtp=send, **members)

    def _request(self, method: str, body: bytes = b"") -> None:
        if body:
            key = base64.b64encode(self._key)
            body = body.replace(b"RTP/AVP", b"RTP/SAVP")
            body += b"a=crypto:1 %s inline:%s\r\n" % (_SUITE.encode(), key)
        super()._request(method, body)

    def _find_media(self, body: str) -> None:
        super()._find_media(body)
        key = body.partition(f"{_SUITE} inline:")[2].split()[0].partition("|")[0]
        self._theirs = _session(base64.b64decode(key), Policy.SSRC_ANY_INBOUND)

    def rtp_received(self, data: bytes) -> None:
        if self._theirs is not None:
            super().rtp_received(self._theirs.unprotect(data))
