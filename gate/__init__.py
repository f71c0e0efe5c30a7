"""gate: is this new model safe to swap in?"""

__version__ = "0.1.0"
