"""What C{chimegw check --online} asks, and of whom."""
