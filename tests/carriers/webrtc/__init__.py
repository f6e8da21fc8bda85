"""Tests of C{chime_gateway.carriers.webrtc}."""
