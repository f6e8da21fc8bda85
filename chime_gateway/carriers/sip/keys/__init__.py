"""How keys of SRTP are agreed on: in a description, or by DTLS."""
