"""What an operator looks at: HTTP, metrics, log."""
