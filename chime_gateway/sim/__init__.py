"""Each protocol in the other role: shipped, used by the demo and the tests."""
