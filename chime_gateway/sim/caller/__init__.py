"""Callers: what they say, how they dial, what they hear."""
