"""Simulates the model of a Realtime session."""
