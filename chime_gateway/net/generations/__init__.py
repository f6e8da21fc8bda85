"""Processes of one gateway beside each other: the newest, and those before it."""
