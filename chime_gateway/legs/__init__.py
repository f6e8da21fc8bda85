"""The caller's carriers.  Each is a thin shim from a socket to the C{CallLeg} seam."""
