"""Stage 5: how a behaviour moved, and which features go with it."""
