"""WebRTC media: peers find each other by ICE and agree on keys by DTLS."""
