"""The transports of a session's audio."""
