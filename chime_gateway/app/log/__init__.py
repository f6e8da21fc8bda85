"""
The log: the form of its lines, the thread that writes them, and their destination.
"""
