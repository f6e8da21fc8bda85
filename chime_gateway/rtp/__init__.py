"""RTP over UDP, for carriers and agents alike."""
