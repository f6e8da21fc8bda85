"""RTP, RTCP and keys."""
