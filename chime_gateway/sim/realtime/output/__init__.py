"""Where the speech of a simulated session goes: into events, or on a line."""
