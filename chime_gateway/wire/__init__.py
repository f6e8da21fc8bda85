"""Parsers and writers of the protocols, without I/O, clocks or logs."""
