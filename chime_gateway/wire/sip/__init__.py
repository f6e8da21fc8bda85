"""SIP and SDP."""
