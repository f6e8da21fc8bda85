"""Tests of C{chime_gateway.webrtc}."""
