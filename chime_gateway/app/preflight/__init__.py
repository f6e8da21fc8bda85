"""The checks that need no other machine, made before a gateway listens."""
