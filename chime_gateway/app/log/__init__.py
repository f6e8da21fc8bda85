"""
The log: the format of its lines, the thread that writes them, and their destination.
"""
