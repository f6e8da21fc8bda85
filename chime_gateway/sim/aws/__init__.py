"""Simulates the AWS services that a gateway uses."""
