"""The scenes of suites/webrtc.py."""
