"""What others learn of a call: its record, its events, and both as JSON."""
