"""Detection by the right name at equal false-alarm rates: the gate beside cheaper and other detectors, on the same pairs."""
