"""Calls over SIP and RTP."""
