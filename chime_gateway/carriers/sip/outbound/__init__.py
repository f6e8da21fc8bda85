"""Calls of ours over SIP: where to, the INVITEs, and the dialogs of their answers."""
