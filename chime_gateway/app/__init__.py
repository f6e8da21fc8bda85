"""The service: how it is composed, its life, and its log."""
