"""SCTP over DTLS, as far as a data channel needs it (RFC 8831, RFC 9260)."""
