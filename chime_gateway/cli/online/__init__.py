"""The checks of C{chimegw check --online}."""
