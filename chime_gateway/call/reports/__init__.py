"""What a call reports: its record, its events, and both as JSON."""
