"""How the audio of sessions travels."""
