"""The API: who may ask, which request is asked for, and its description."""
