"""Finds the resources of an installation in AWS and removes them."""
