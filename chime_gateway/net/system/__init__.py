"""What the operating system lends: threads, names, descriptors."""
