"""Sessions whose audio travels over WebRTC, separate from their events."""
