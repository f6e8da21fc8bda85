"""What suites/webrtc.py is made of."""
