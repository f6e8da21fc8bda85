"""Strangers: limits on their connections, and on what the log says of them."""
