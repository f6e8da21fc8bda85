"""RTP, RTCP and DTMF."""
