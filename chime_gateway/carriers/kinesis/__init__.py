"""
Calls whose audio comes from a Voice Connector's Kinesis stream, and goes back by
C{PlayAudio}.
"""
