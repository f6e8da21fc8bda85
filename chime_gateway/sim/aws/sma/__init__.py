"""Simulates a SIP media application on loopback, which invokes the real Lambda."""
