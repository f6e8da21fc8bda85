"""Whoever reaches a port: what is kept of them, and what the log says of them."""
