"""
The simulated service over WebRTC: HTTP, ICE-lite, DTLS and RTP in the service's role.

Written from the reference alone: it takes nothing from the gateway's own WebRTC, so
that what one of them has misunderstood shows at the other.
"""
