"""What is said in a call, and what is written down of it."""
