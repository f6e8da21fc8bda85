"""What suites/chaos.py is made of."""
