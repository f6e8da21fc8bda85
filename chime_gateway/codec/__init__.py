"""Audio samples: G.711, resampling, levels.  Numpy, no I/O and no clock."""
