"""What happens comes into the database: by a journal, in threads of their own."""
