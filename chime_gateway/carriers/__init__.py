"""The caller's carriers, each a thin shim to the C{CallLeg} seam."""
