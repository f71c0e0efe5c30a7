"""The smallest valid policy, in two parts."""

from __future__ import annotations

HEAD = "version: 1\nname: p\nbehaviours:\n"
BEHAVIOUR = """\
  - id: refusal
    title: Refusal
    regression: increase
    scorer:
      kind: lexical
      any_of: ['I cannot']
    elicit:
      - a question
"""
