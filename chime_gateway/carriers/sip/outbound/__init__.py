"""
Outbound calls over SIP: their target, the INVITEs, and the dialogs of the answers.
"""
