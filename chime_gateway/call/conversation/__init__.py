"""What is said in a call, and its transcript."""
