"""What an operator may set.  Only this room reads files and the environment."""
