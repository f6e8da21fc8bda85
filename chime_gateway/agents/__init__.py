"""
The agent's side: sessions with Azure OpenAI Realtime, behind the C{AgentSession}
seam.
"""
