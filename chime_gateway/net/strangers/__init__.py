"""Limits on the connections of strangers, and on their log lines."""
