"""Faults of the simulated Realtime service that a test or an operator can select."""
