"""
The protocols of WebRTC besides RTP:  STUN, ICE, SCTP, and how packets are told apart.
"""
