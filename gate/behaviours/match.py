"""Which features go with which behaviour: per-document firing on eliciting against control prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gate.activations.types import Document
from gate.behaviours.matching import match_latents
from gate.behaviours.types import Match
from gate.features.firing import Firing, max_by
from gate.features.types import Feature
from gate.schema import Side

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MIN_LOCAL_SURPRISE = 1.0  # nats at the feature's firing positions within this behaviour's own documents
MIN_AUROC = 0.6  # a behaviour conditional on a trigger in a third of the prompts reaches 0.67 at best


def documents_by(documents: Sequence[Document], behaviour: str, group: str, author: Side) -> NDArray[np.int64]:
    """Documents of one behaviour and group that `author` wrote (alone, or alike with the other model)."""
    return np.array(
        [
            index
            for index, document in enumerate(documents)
            if document.behaviour == behaviour and document.group == group and document.author in {author, None}
        ],
        dtype=np.int64,
    )


def match_features(
    behaviour: str, features: Sequence[Feature], firing: Firing, documents: Sequence[Document], *, seed: int, level: float
) -> tuple[Match, ...]:
    """Matches of one behaviour among the features that are real changes, strongest first.

    Added features are read in what the incoming model wrote, removed ones in what the baseline wrote, rewired ones in both,
    where they fire best. A feature counts only if the change shows *here*: the text at its firing positions in this behaviour's
    own documents must surprise the other model. Otherwise a feature of one behaviour would match every similar topic.
    """
    best: dict[str, Match] = {}
    for author in ("baseline", "incoming"):
        mine = [f for f in features if f.significant and (f.kind == "rewired" or f.side == author)]
        elicit = documents_by(documents, behaviour, "elicit", author)
        control = documents_by(documents, behaviour, "control", author)
        if not mine or not len(elicit) or not len(control):
            continue
        scores = np.stack([_document_scores(firing, feature.latent) for feature in mine], axis=1)
        local = np.array([_local_surprise(firing, feature.latent, elicit) for feature in mine])
        names = [feature.id for feature in mine]
        for match in match_latents(
            scores[elicit], scores[control], local, names, seed=seed, level=level, min_auroc=MIN_AUROC
        ):
            known = best.get(match.feature)
            if match.surprise >= MIN_LOCAL_SURPRISE and (known is None or match.auroc > known.auroc):
                best[match.feature] = match
    return tuple(sorted(best.values(), key=lambda match: (-match.auroc, -match.surprise, match.feature)))


def _document_scores(firing: Firing, latent: int) -> Floats:
    positions, values = firing.column(latent)
    inside = firing.answer_N[positions]
    return max_by(firing.document_N, len(firing.author_D), positions[inside], values[inside])


def _local_surprise(firing: Firing, latent: int, documents: NDArray[np.int64]) -> float:
    positions, values = firing.column(latent)
    inside = firing.answer_N[positions] & np.isin(firing.document_N[positions], documents)
    mass = values[inside].sum()
    return float((values[inside] * firing.surprise_N[positions[inside]]).sum() / mass) if mass > 0 else 0.0
