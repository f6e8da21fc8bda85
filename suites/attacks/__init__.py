"""The attacks of suites/attack.py."""
