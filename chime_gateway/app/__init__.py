"""What runs: the service, its life, how it is put together and what it logs."""
