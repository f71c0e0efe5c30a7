"""Regular expressions of a policy: compiled with the `regex` module, whose matches can be given a time limit."""

from __future__ import annotations

import re
import string
from typing import Any, NamedTuple

import regex

MAX_PATTERN = 4_000
# A repeated group is where backtracking can explode; only patterns that have one are tried out.
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{\d*,\d*\})")
_TRIAL_SECONDS = 0.05
_TRIAL_LENGTH = 40


class BadPattern(NamedTuple):
    """Why a pattern does not compile. `position` counts characters from 0; -1 when unknown."""

    reason: str
    position: int


def compile_pattern(pattern: str, flags: int = 0) -> Any | BadPattern:  # noqa: ANN401 - regex has no types
    """The compiled pattern, or why it cannot be one. `flags` are those of the `regex` module."""
    if len(pattern) > MAX_PATTERN:
        return BadPattern(f"is longer than {MAX_PATTERN} characters", MAX_PATTERN)
    try:
        return regex.compile(pattern, flags)
    except regex.error as error:
        return BadPattern(error.msg, -1 if error.pos is None else error.pos)
    except RecursionError:
        return BadPattern("nests too many groups", -1)
    except (ValueError, OverflowError, KeyError, IndexError) as error:
        return BadPattern(str(error) or type(error).__name__, -1)


def matches_empty(compiled: Any) -> bool:  # noqa: ANN401
    """Whether the pattern is found in an empty answer, and so in every answer."""
    try:
        return compiled.search("", timeout=_TRIAL_SECONDS) is not None
    except TimeoutError:
        return False


def seems_slow(pattern: str, compiled: Any) -> bool:  # noqa: ANN401
    """Whether the pattern takes absurdly long on a short, hostile answer (catastrophic backtracking).

    Tried on runs of the letters that the pattern itself mentions, so it can miss a slow pattern but does not invent one.
    """
    if not _REPEATED_GROUP.search(pattern):
        return False
    letters = [c for c in dict.fromkeys(pattern) if c in string.ascii_letters + string.digits][:6]
    for unit in dict.fromkeys([*letters, "a", "1", " ", "a "]):
        try:
            compiled.search((unit * _TRIAL_LENGTH)[:_TRIAL_LENGTH] + "\x00", timeout=_TRIAL_SECONDS)
        except TimeoutError:
            return True
    return False
