"""What is to be in time on a real clock: it runs alone, after all the rest."""
