"""
Offers by RFC 8866 and 3264, and whether the gateway can accept one of their streams.

A stream is generated together with its fault, if it has one, to compare it with what
the gateway says.
"""

from __future__ import annotations

import base64

from attrs import frozen
from hypothesis import strategies as st

ALLOWED = "198.51.100.9"
FORBIDDEN = "203.0.113.9"

KEY30 = base64.b64encode(bytes(range(30))).decode()
KEY46 = base64.b64encode(bytes(range(46))).decode()

_OFF = "the audio is switched off (port 0)"
_NO_CODEC = "no codec in common"
_NO_KEY = "no SRTP suite in common"
_NO_FINGERPRINT = "there is no fingerprint of SHA-256 or better (a=fingerprint)"
_WITH_KEYS = ("RTP/SAVP", "RTP/SAVPF")
_OVER_DTLS = ("UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF")
_FORBIDDEN = "the media address is not allowed"


@frozen
class Stream:
    """
    One stream.

    @ivar lines: an m-line and the lines that belong to it.
    @ivar fault: why it cannot be accepted; C{None}: it can; empty: it is not audio, and
        no reason is given.
    """

    lines: tuple[str, ...]
    fault: str | None


@frozen
class Offer:
    text: str
    streams: tuple[Stream, ...]

    @property
    def fits(self) -> bool:
        return any(stream.fault is None for stream in self.streams)

    @property
    def reason(self) -> str:
        faults = [stream.fault for stream in self.streams if stream.fault]
        return "; ".join(dict.fromkeys(faults)) or "there is no audio"


_spoken = st.sampled_from(
    [
        ("0", ()),
        ("8", ()),
        ("0", ("a=rtpmap:0 PCMU/8000",)),
        ("8", ("a=rtpmap:8 pcma/8000/1",)),
        ("97", ("a=rtpmap:97 PCMU/8000", "a=fmtp:97 x=y")),
    ]
)
_unspoken = st.sampled_from(
    [
        ("18", ("a=rtpmap:18 G729/8000", "a=fmtp:18 annexb=no")),
        ("9", ()),
        ("96", ("a=rtpmap:96 opus/48000/2",)),
        ("98", ("a=rtpmap:98 PCMU/16000",)),
        ("13", ()),
        ("110", ("a=rtpmap:110 telephone-event/48000",)),
        ("101", ("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15")),
        ("127", ()),
    ]
)
_attributes = st.sampled_from(
    [
        *("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"),
        *("a=ptime:20", "a=ptime:30", "a=maxptime:40", "a=mid:0", "a=rtcp-mux"),
        *("a=rtcp:5000", "a=rtcp-fb:* nack", "a=ssrc:1 cname:x", "a=x", "a=label:1"),
        *("a=candidate:1 1 UDP 1 192.0.2.1 9 typ host", "a=setup:actpass", "a="),
        *("a=silenceSupp:off - - - -", "i=a line", "b=AS:64", "a=extmap:1 urn:x"),
        f"a=crypto:9 aes_cm_128_hmac_sha1_80 inline:{KEY30}",
    ]
)
_good_keys = st.sampled_from(
    [
        f"AES_CM_128_HMAC_SHA1_80 inline:{KEY30}",
        f"aes_cm_128_hmac_sha1_32 inline:{KEY30}|2^20",
        f"AES_256_CM_HMAC_SHA1_80 inline:{KEY46}|2^31",
        f"AES_CM_128_HMAC_SHA1_80 inline:{KEY30} WSH=128 -new=1",
        f"Aes_Cm_256_Hmac_Sha1_32 inline:{KEY46.rstrip('=')}",
    ]
)
_bad_keys = st.sampled_from(
    [
        f"AES_CM_128_HMAC_SHA1_80 inline:{KEY30}|2^31|1:4",
        f"AES_CM_128_HMAC_SHA1_80 inline:{KEY46}",
        f"AEAD_AES_128_GCM inline:{KEY30}",
        f"AES_CM_128_HMAC_SHA1_80 inline:{KEY30} UNENCRYPTED_SRTP",
        "AES_CM_128_HMAC_SHA1_80 inline:",
    ]
)
_other_media = st.sampled_from(
    [
        "m=video 5002 RTP/AVP 31 96",
        "m=video 5002/2 RTP/AVPF 96",
        "m=image 5004 udptl t38",
        "m=text 0 RTP/AVP 98",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=message 2855 TCP/MSRP *",
    ]
)


@st.composite
def _formats(draw: st.DrawFn, *, is_spoken: bool) -> tuple[list[str], list[str]]:
    some = draw(st.lists(_unspoken, max_size=4, unique_by=lambda pair: pair[0]))
    if is_spoken:
        some.insert(draw(st.integers(0, len(some))), draw(_spoken))
    elif not some:
        some = [("18", ())]
    return [number for number, _ in some], [a for _, lines in some for a in lines]


def _dtls(draw: st.DrawFn, *, has_fingerprint: bool) -> list[str]:
    """Generate lines of DTLS-SRTP, with any lines of ICE."""
    lines = [f"a=setup:{draw(st.sampled_from(('actpass', 'active', 'passive')))}"]
    if has_fingerprint:
        lines.append("a=fingerprint:SHA-256 " + ":".join(["0f"] * 32))
    lines += draw(
        st.sampled_from(
            [(), ("a=rtcp-mux",), ("a=ice-ufrag:abcd", "a=ice-pwd:" + "x" * 22)]
        )
    )
    return lines


@st.composite
def _streams(draw: st.DrawFn) -> Stream:
    if draw(st.integers(0, 3)) == 0:
        extra = draw(st.lists(_attributes, max_size=3))
        return Stream((draw(_other_media), *extra), "")
    fault = draw(
        st.sampled_from(
            [
                *(None, None, None, _OFF, _NO_CODEC, _NO_KEY, _NO_FINGERPRINT),
                *(_FORBIDDEN, "transport", "c"),
            ]
        )
    )
    protocol = draw(st.sampled_from(["RTP/AVP", "RTP/AVPF", *_WITH_KEYS, *_OVER_DTLS]))
    if fault == _NO_KEY and protocol not in _WITH_KEYS:
        protocol = "RTP/SAVP"
    if fault == _NO_FINGERPRINT and protocol not in _OVER_DTLS:
        protocol = "UDP/TLS/RTP/SAVP"
    host = ALLOWED if draw(st.booleans()) else None
    if fault == _FORBIDDEN:
        host = FORBIDDEN
    if fault == "transport":
        protocol = "TCP/TLS/RTP/SAVPF"
        fault = f"audio over {protocol} is not supported"
    formats, lines = draw(_formats(is_spoken=fault != _NO_CODEC))
    port = 0 if fault == _OFF else draw(st.integers(1024, 65534))
    count = draw(st.sampled_from(["", "/2", "/1"]))
    head = f"m=audio {port}{count} {protocol} {' '.join(formats)}"
    if host is not None:
        lines.insert(0, f"c=IN IP4 {host}")
    if fault == "c":
        lines.insert(0, draw(st.sampled_from(["c=IN IP4", "c=ATM NSAP 4.7"])))
        if host is not None:
            del lines[1]
        fault = "there is no valid c-line"
    lines += draw(st.lists(_attributes, max_size=5))
    if protocol in _OVER_DTLS:
        lines += _dtls(draw, has_fingerprint=fault != _NO_FINGERPRINT)
    if protocol in _WITH_KEYS:
        lines = [line for line in lines if not line.startswith("a=crypto")]
        keys = draw(st.lists(_bad_keys, max_size=2))
        if fault != _NO_KEY:
            keys.insert(draw(st.integers(0, len(keys))), draw(_good_keys))
        lines += [f"a=crypto:{tag + 1} {key}" for tag, key in enumerate(keys)]
    return Stream((head, *lines), fault)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    """Generate whole offers; the session's c-line is allowed."""
    streams = draw(st.lists(_streams(), max_size=4))
    head = ["v=0", "o=- 20518 0 IN IP4 198.51.100.9", "s=-", f"c=IN IP4 {ALLOWED}"]
    head += ["t=0 0"]
    head += draw(
        st.lists(
            st.sampled_from(
                ["a=sendonly", "a=inactive", "a=group:BUNDLE 0 1", "a=ice-lite", "a=x:"]
            ),
            max_size=3,
        )
    )
    lines = [*head, *(line for stream in streams for line in stream.lines)]
    end = draw(st.sampled_from(["\r\n", "\n"]))
    return Offer(end.join(lines) + end, tuple(streams))
