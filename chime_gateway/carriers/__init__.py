"""The caller's carriers, each behind the C{CallLeg} seam."""
