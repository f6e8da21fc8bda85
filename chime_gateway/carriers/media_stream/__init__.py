"""Calls over a WebSocket media stream."""
