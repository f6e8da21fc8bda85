"""Webhooks: receivers, and their pending deliveries."""
