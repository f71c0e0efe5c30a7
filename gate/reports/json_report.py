"""`verdict.json`: the document itself."""

from __future__ import annotations

import json

from gate.verdict.types import Verdict


def render(verdict: Verdict) -> str:
    """`verdict` as JSON that reads back to an equal verdict.

    Keys are in the order of the types and dictionaries sorted by key; floats are the shortest text that reads back to the same
    number. The text is ASCII without DEL: it can be printed to any terminal and hides no character.
    """
    document = verdict.model_dump(mode="json")
    document["timestamps"]["stages"] = dict(sorted(verdict.timestamps.stages.items()))
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, indent=1)
    return text.replace("\x7f", "\\u007f") + "\n"
