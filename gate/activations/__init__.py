"""Stage 2: texts both models read, and the paired residuals at aligned positions."""
