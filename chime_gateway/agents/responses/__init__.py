"""What the agent is to say in one session, until it is said, or told that it is not."""
