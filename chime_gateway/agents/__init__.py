"""The agent's carriers, each a thin shim to the C{AgentSession} seam."""
