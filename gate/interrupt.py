"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a finaliser or a C callback it is printed and
dropped, inside an import it may come out as another error. So the signal is also remembered: long work asks `pending`, and
the command line exits as interrupted whatever the interruption turned into.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_asked = threading.Event()


def install() -> None:
    """Remember SIGINT from now on. Only in the main thread of a program, never on import."""
    signal.signal(signal.SIGINT, _remember)


def _remember(_signum: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt


def pending() -> bool:
    """Whether Ctrl-C was pressed."""
    return _asked.is_set()


def check() -> None:
    """Raises KeyboardInterrupt if Ctrl-C was pressed and got lost on its way."""
    if _asked.is_set():
        raise KeyboardInterrupt
