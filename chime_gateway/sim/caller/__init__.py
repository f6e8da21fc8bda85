"""Simulated callers: what they say, how they dial, what they hear."""
