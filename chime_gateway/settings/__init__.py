"""The settings of a gateway.  Only this package reads files and the environment."""
