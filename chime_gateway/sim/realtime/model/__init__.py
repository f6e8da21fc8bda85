"""What stands for the model of a simulated Realtime session."""
