"""The simulators: each protocol in the peer's role, for the demo and the tests."""
