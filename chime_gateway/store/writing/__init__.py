"""Writes entries to the database: through a journal, in separate threads."""
