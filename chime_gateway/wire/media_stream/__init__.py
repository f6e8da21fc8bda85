"""The media stream and its dialects, one module each."""
