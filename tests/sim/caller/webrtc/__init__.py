"""Tests of C{chime_gateway.sim.caller.webrtc}."""
