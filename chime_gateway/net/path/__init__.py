"""The path of a frame between a media socket and its owner."""
