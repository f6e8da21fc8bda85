"""The service: its composition, its life cycle, and its log."""
