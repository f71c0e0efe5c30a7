"""Artefacts of finished stages, found again by what went into them."""

from gate.store.key import Key, stage_key
from gate.store.store import Store, atomic_write, default_root

__all__ = ["Key", "Store", "atomic_write", "default_root", "stage_key"]
