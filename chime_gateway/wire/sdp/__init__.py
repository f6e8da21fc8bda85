"""Session descriptions: media, addresses, codecs, keys."""
