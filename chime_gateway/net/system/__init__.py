"""The operating system's resources: threads, names, file descriptors."""
