"""SIP messages, transactions, dialogs and authentication (RFC 3261)."""
