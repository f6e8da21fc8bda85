"""Sends a simulated session's speech, in events or over RTP."""
