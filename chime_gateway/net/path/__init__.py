"""The way of a frame between a socket and whoever receives it."""
