"""A line over WebRTC."""
