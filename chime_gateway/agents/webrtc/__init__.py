"""Sessions whose audio travels by WebRTC, and their events beside it."""
