"""Tests of C{chime_gateway.carriers.sip.keys}."""
