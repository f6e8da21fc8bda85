"""WebRTC media: ICE finds the path to a peer, and DTLS negotiates the keys."""
