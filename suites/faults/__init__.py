"""The faults of suites/chaos.py."""
