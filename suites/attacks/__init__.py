"""What suites/attack.py is made of."""
