"""The command line of C{chimegw}."""
