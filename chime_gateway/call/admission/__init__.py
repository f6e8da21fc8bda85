"""Who may come in: limits, and what the process can carry."""
