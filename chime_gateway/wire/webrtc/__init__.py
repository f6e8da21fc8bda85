"""What WebRTC puts on a wire besides RTP: STUN, ICE, and which packet is what."""
