"""The HTTP server: health, metrics, the API."""
