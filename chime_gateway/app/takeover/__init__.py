"""
The take-over: a new process of this gateway takes every new call, and the old one
keeps its own.
"""
