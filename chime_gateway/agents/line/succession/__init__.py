"""One session of a line after another: when the next is wanted, and how it goes on."""
