"""The responses of one session, from a request until they are spoken or have failed."""
