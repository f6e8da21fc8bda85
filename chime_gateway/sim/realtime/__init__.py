"""The Realtime service."""
