"""Retention: deletes old rows and files."""
