"""
The protocols of WebRTC except RTP: STUN, ICE, SCTP, and demultiplexing.
"""
