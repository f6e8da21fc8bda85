"""A simulated caller's line over WebRTC."""
