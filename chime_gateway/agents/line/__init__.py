"""The line between a call and the sessions of its agent, one after another."""
