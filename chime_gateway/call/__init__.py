"""
The life of a call.  It depends only on the seams: it imports no carrier and no dialect.
"""
