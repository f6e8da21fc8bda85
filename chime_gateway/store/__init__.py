"""What is kept of calls: records, transcripts, deliveries, recordings."""
