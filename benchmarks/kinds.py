"""
The names of rows, which consist of words.

The first word is a program: C{gateway}, C{baseline} (the gateway of another checkout),
C{relay} (the floor, in C), C{node} (a comparable program) or C{aiortc}.  The other
words are the differences from the default, a plaintext media stream with an echoing
agent behind a plaintext WebSocket:

    tls       TLS to the agent
    wss       TLS to the carrier
    raw       frames without JSON
    sip       SIP and RTP
    srtp      SIP and SRTP
    caller    callers over WebRTC
    agent     the agent over WebRTC
    speech    the agent speaks like a real one
    kept      recorded and transcribed
"""

from __future__ import annotations

from attrs import frozen

#: An agent that speaks: the duration of an answer and a pause (speech.py).
CYCLE_SECONDS = 6.0

PROGRAMS = {
    "gateway": "chime-gateway",
    "baseline": "chime-gateway, other commit",
    "relay": "bare relay in C",
    "node": "Node sample (ws)",
    "aiortc": "aiortc relay",
}

_CARRIERS = {
    "raw": "raw",
    "sip": "SIP, RTP",
    "srtp": "SIP, SRTP",
    "caller": "WebRTC",
}

_GATEWAYS = frozenset(
    ("tls", "wss", "raw", "sip", "srtp", "caller", "agent", "speech", "kept")
)

#: The words that each program supports.
_KNOWS = {
    "gateway": _GATEWAYS,
    "baseline": _GATEWAYS - {"caller", "agent"},
    "relay": frozenset(("tls", "wss", "speech")),
    "node": frozenset(("tls", "wss", "speech")),
    "aiortc": frozenset(),
}


@frozen
class Kind:
    """
    The configuration of one row.

    @ivar words: all words except the program.
    """

    name: str
    program: str
    words: frozenset[str]

    @property
    def is_gateway(self) -> bool:
        return self.program in ("gateway", "baseline")

    @property
    def agent_tls(self) -> bool:
        return "tls" in self.words

    @property
    def carrier_tls(self) -> bool:
        return "wss" in self.words

    @property
    def speaks(self) -> bool:
        return "speech" in self.words

    @property
    def agent_over(self) -> str:
        is_webrtc = "agent" in self.words or self.program == "aiortc"
        return "webrtc" if is_webrtc else "websocket"

    @property
    def carrier(self) -> str:
        """C{raw}, C{sip}, C{srtp}, C{caller} or C{stream}."""
        return next(iter(self.words & _CARRIERS.keys()), "stream")

    @property
    def path(self) -> str:
        if not self.is_gateway:
            return "/"
        return "/stream/raw" if self.carrier == "raw" else "/stream"

    @property
    def carrier_title(self) -> str:
        title = _CARRIERS.get(self.carrier, "media stream")
        return f"{title}, TLS" if self.carrier_tls else title

    @property
    def agent_title(self) -> str:
        title = "WebRTC" if self.agent_over == "webrtc" else "WebSocket"
        if self.agent_tls:
            title += ", TLS"
        return f"{title}, speech" if self.speaks else title

    @property
    def program_title(self) -> str:
        title = PROGRAMS[self.program]
        return f"{title}, recorded" if "kept" in self.words else title


def kind(name: str) -> Kind:
    """
    Parse the name of a row.

    @raise ValueError: there is no such row.
    """
    program, *rest = name.split("-")
    # "webrtc" has no meaning, but gateway-webrtc-agent reads better.
    words = frozenset(rest) - {"webrtc"}
    if program not in PROGRAMS:
        raise ValueError(f"{name}: does not begin with one of {', '.join(PROGRAMS)}")
    unknown = words - _KNOWS[program]
    if unknown:
        known = ", ".join(sorted(_KNOWS[program])) or "nothing"
        raise ValueError(
            f"{name}: {program} supports {known}, not {', '.join(sorted(unknown))}"
        )
    if len(words & _CARRIERS.keys()) > 1:
        raise ValueError(f"{name}: a call has one carrier")
    if "wss" in words and words & {"sip", "srtp", "caller"}:
        raise ValueError(f"{name}: wss is for WebSockets")
    if "agent" in words and words & {"tls", "speech"}:
        raise ValueError(f"{name}: an agent over WebRTC echoes, and has its own TLS")
    return Kind(name, program, words)
