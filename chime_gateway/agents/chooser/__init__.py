"""Chooses the deployment for a call."""
