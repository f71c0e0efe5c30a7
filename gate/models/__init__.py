"""Stage 1: finding, checking, loading, running and steering models."""
