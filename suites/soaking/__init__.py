"""What the soak looks at: a gateway that stands still with a number of calls."""
