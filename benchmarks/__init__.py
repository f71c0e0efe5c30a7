"""Measurements that a user can rerun. Not part of the package."""
