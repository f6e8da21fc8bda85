"""Places a call to a URL; its scheme selects the kind of line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred

from chime_gateway.audio import Codec
from chime_gateway.sim.caller.caller import CallPlan, CallReport, Meter
from chime_gateway.sim.caller.softphone import place_sip_call
from chime_gateway.sim.caller.stream_line import place_stream_call

STREAM_SCHEMES: Final = ("ws", "wss")
SIP_SCHEMES: Final = ("sip",)
WEBRTC_SCHEMES: Final = ("http", "https")


def place_call(
    url: str,
    plan: CallPlan,
    codec: Codec,
    *,
    reactor: Any,
    headers: Mapping[str, str] | None = None,
    meter: Meter | None = None,
) -> Deferred[CallReport]:
    """
    Call C{url} and follow C{plan}.

    @param headers: HTTP headers of the WebSocket handshake or the offer; not used for
        SIP.
    @return: fires with the report when the call is over, even if it failed;
        C{report.error} says why there was no call.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in WEBRTC_SCHEMES:
        # Imported late: DTLS and SRTP take a moment to import.
        from chime_gateway.sim.caller.webrtc.phone import place_webrtc_call

        return place_webrtc_call(
            url, plan, codec, reactor=reactor, headers=headers, meter=meter
        )
    if scheme in SIP_SCHEMES:
        return place_sip_call(url, plan, codec, reactor=reactor, meter=meter)
    return place_stream_call(
        url, plan, codec, reactor=reactor, headers=headers, meter=meter
    )
