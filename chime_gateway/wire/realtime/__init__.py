"""The protocol of Azure OpenAI Realtime, GA and preview."""
