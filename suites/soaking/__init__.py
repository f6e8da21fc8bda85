"""Parts of the soak: a gateway that is examined with a fixed number of calls."""
