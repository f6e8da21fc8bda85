"""Recordings: written to files, brought to where they are kept."""
