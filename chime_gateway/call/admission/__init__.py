"""Admission of calls: limits, and the load of the process."""
