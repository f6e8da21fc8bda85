"""
Simulates the service over WebRTC: HTTP, ICE-lite, DTLS and RTP in the service's role.

It was written from the reference only and shares no code with the gateway's WebRTC,
so that a misunderstanding on either side is detected.
"""
