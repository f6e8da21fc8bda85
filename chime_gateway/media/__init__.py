"""
Audio in time and order: the pump, the queues, the clocks, the jitter buffer and the
recorder.

The current time is always an argument.
"""
