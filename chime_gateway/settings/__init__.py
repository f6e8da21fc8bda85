"""The settings of a gateway.  Only this room reads files and the environment."""
