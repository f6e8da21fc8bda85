"""
The succession of a line's sessions: when the next is needed, and how it continues.
"""
