"""Requests to AWS."""
