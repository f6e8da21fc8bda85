"""The stream of a Voice Connector, and the notices about it."""
