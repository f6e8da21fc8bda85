"""
The simulated service over WebRTC:  HTTP, ICE-lite, DTLS and RTP in the service's
role.

It was written from the reference alone and uses none of the gateway's own WebRTC, so
that a misunderstanding on either side shows.
"""
