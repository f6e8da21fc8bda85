"""WebRTC offers of browsers and others."""

from __future__ import annotations

FINGERPRINT = ":".join(f"{n:02X}" for n in range(32))

#: A browser's offer with audio only, without irrelevant lines.
BROWSER = f"""v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2130706431 b2d1d7e2-3c1a-4f0e-9d2b-1a2b3c4d5e6f.local 54321 typ host
a=candidate:2 1 udp 1677729535 198.51.100.23 54321 typ srflx raddr 0.0.0.0 rport 0
a=ice-ufrag:br0w
a=ice-pwd:browserpasswordbrowserpw
a=ice-options:trickle
a=fingerprint:sha-256 {FINGERPRINT}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:- 5c1e4b0c
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:1001 cname:caller
""".replace("\n", "\r\n")

OPUS_ONLY = (
    BROWSER.replace(" 111 63 9 0 8 13 110 126", " 111")
    .replace("a=rtpmap:0 PCMU/8000\r\n", "")
    .replace("a=rtpmap:8 PCMA/8000\r\n", "")
)

#: The same with a video section in the same bundle.
WITH_VIDEO = BROWSER.replace("BUNDLE 0", "BUNDLE 0 1") + (
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
    "c=IN IP4 0.0.0.0\r\n"
    "a=ice-ufrag:br0w\r\n"
    "a=ice-pwd:browserpasswordbrowserpw\r\n"
    f"a=fingerprint:sha-256 {FINGERPRINT}\r\n"
    "a=setup:actpass\r\n"
    "a=mid:1\r\n"
    "a=sendrecv\r\n"
    "a=rtcp-mux\r\n"
    "a=rtpmap:96 VP8/90000\r\n"
)
