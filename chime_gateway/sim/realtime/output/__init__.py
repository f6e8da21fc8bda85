"""The output of a simulated session's speech: into events, or into RTP."""
