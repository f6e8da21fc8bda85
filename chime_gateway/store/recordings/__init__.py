"""Recordings: written to files, and uploaded."""
