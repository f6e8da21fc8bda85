"""Looks at an installation in AWS and changes nothing."""
