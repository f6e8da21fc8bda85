"""The life of a call.  Knows the seams, never a carrier or a dialect."""
