"""Connects telephone calls to a speech-to-speech model."""

__version__ = "0.2.0"
