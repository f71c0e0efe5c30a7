"""The Dedicated Feature Crosscoder: training, encoding, quality and files."""
