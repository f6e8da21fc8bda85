"""A new process of this gateway takes every new call; the old one keeps its own."""
