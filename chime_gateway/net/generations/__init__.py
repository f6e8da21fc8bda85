"""Processes of one gateway side by side: the newest, and older ones."""
