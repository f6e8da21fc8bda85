"""C{chimegw aws}: sets up an installation in AWS, checks it, and removes it."""
