"""Bytes in, values out: the protocols, without any I/O, clock or log."""
