"""What can be found out before a gateway listens, without asking anybody else."""
