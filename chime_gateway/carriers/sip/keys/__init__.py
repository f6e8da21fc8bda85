"""Agrees on keys of SRTP: in a session description, or by DTLS."""
