"""SIP of one gateway in several processes: which of them a message is for."""
