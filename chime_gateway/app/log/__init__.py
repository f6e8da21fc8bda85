"""The log: what a line is, who writes it, and where to."""
