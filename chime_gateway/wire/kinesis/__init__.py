"""A Voice Connector's Kinesis video streams, and its notices about them."""
