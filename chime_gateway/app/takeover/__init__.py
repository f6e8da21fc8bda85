"""
The take-over: a new process of this gateway takes every new call, and the old process
keeps its own calls.
"""
