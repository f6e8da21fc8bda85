"""Session descriptions: what media there is, where, as what, under which keys."""
