"""Media between two who find each other by ICE and agree on keys by DTLS (WebRTC)."""
