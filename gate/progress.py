"""What a long stage tells the person who waits. Stages call `tick(n)`; the command line draws the bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

Tick = Callable[[int], None]


class Progress(Protocol):
    """A sink for progress."""

    def note(self, text: str) -> None:
        """One line of log."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Tick]:
        """A stage of `total` units; the tick counts finished ones."""


class Silent:
    """No output: for tests and libraries."""

    def note(self, text: str) -> None:
        """Nothing."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Tick]:
        """Nothing."""
        yield lambda _: None
