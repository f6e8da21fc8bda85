"""RTP packets, RTCP packets and DTMF events."""
