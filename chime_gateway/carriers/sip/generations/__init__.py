"""SIP of one gateway in several processes: finds the process that a message is for."""
