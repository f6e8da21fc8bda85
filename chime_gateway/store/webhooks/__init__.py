"""Webhooks: receivers, and what waits for them."""
