"""
The life of a call, on the seams alone: no carrier and no dialect is imported here.
"""
