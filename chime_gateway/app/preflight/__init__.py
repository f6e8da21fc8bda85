"""Checks before a gateway listens; they need no other machine."""
