"""The agent's carriers.  Each is a thin shim from a socket to the C{AgentSession} seam."""
