"""The simulated Realtime service."""
