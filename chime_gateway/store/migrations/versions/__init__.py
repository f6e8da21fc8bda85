"""The migrations, one step each, in the order of their numbers."""
