"""Simulates the Realtime service."""
