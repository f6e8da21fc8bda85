"""What is old enough goes: rows and files."""
