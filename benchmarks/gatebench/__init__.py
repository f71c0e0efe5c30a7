"""A matrix of model pairs whose true difference is known: how often is the gate right?"""

import sys
from pathlib import Path

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
if str(FIXTURES) not in sys.path:  # `forge` trains small models; it is a folder of scripts, not part of the package
    sys.path.insert(0, str(FIXTURES))
