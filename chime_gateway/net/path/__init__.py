"""Paths of frames between media sockets and their owners."""
