"""Whole calls, written down as they pass and run again."""
