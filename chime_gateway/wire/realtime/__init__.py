"""Azure OpenAI Realtime, GA and preview."""
