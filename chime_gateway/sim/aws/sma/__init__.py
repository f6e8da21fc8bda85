"""A SIP media application on loopback, which calls the real Lambda."""
