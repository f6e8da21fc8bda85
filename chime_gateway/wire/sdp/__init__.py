"""SDP session descriptions: media, addresses, codecs, keys."""
