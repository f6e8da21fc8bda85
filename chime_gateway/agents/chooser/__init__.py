"""Which deployment has a call."""
