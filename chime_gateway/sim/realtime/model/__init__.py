"""The simulated model of a Realtime session."""
