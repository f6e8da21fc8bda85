"""Negotiates the keys of SRTP: in session descriptions, or by DTLS."""
