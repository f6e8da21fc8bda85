"""The API: who may use it, its requests, and its description."""
