"""What a Voice Connector's stream carries and announces."""
