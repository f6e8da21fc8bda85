"""Finds what an installation has in AWS, and removes it."""
