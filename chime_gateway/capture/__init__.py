"""Captures of calls: files, and their replay."""
