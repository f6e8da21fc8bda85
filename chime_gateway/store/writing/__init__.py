"""Writes events to the database: through a journal, in threads of their own."""
