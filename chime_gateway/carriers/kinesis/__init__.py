"""Listening to a Voice Connector's stream, answering by C{PlayAudio}."""
