"""The two worlds: the method may be tuned on one of them only."""
