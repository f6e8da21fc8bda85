"""A telephone call on one side, a speech-to-speech model on the other."""

__version__ = "0.2.0"
