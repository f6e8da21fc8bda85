"""Sockets, as far as legs and agents share them.  Knows no call and no dialect."""
