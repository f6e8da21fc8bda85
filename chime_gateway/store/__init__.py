"""The store of calls: records, transcripts, deliveries, recordings."""
