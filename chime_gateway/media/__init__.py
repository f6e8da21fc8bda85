"""Time and order of audio.  Clocks are arguments; no dialect is known here."""
