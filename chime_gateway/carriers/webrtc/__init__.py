"""Callers over WebRTC: browsers, apps, session border controllers."""
