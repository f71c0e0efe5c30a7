from gate.behaviours.statistics import *  # noqa
