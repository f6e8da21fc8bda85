"""Several processes of one gateway at the same time: the newest, and older ones."""
