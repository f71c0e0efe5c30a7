"""How good a trained DFC is: measured on documents that it was not trained on, because a verdict rests on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from gate.crosscoder.dfc import encode_sparse, reconstruct
from gate.crosscoder.types import DFC, Quality, SideQuality
from gate.errors import IncomparableError

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 4096


@torch.no_grad()
def measure_quality(
    dfc: DFC, baseline_ND: Tensor, incoming_ND: Tensor, held_out_N: Tensor, vectors_seen: int, chunk: int = CHUNK
) -> Quality:
    """Quality of `dfc` on paired residuals [N, da] and [N, db] in the models' own units.

    The fraction of variance unexplained of each side (about the held-out mean) and the mean number of active latents come from
    the positions flagged in held_out_N [N]; which latents live from all positions. vectors_seen: positions drawn in training.
    IncomparableError when no position is held out.
    """
    held = held_out_N.cpu()
    if not bool(held.any()):
        raise IncomparableError("no held-out position to measure the crosscoder on", "give more texts")
    sides = (baseline_ND, incoming_ND)
    means = [x_ND[held.to(x_ND.device)].double().mean(0) for x_ND in sides]
    missed, spread, active, fired_F = [0.0, 0.0], [0.0, 0.0], 0, torch.zeros(dfc.latents, dtype=torch.long)
    for start in range(0, len(baseline_ND), chunk):
        old, new, mask = (x[start : start + chunk] for x in (baseline_ND, incoming_ND, held))
        codes = encode_sparse(dfc, old, new, chunk)
        fired_F += codes.fired(dfc.latents).cpu()
        if not bool(mask.any()):
            continue
        active += int(mask[codes.rows.cpu()].sum())
        rebuilt = reconstruct(dfc, codes, len(old))
        for i, (x_Nd, hat_Nd) in enumerate(zip((old, new), rebuilt, strict=True)):
            x_Md = x_Nd[mask.to(x_Nd.device)].double()
            missed[i] += float((x_Md - hat_Nd[mask.to(hat_Nd.device)].to(x_Md)).square().sum())
            spread[i] += float((x_Md - means[i]).square().sum())
    nb, ni = dfc.baseline_exclusive, dfc.incoming_exclusive
    alive_F = fired_F > 0
    return Quality(
        baseline=SideQuality(fvu=_share(missed[0], spread[0]), exclusive_alive=int(alive_F[:nb].sum()), exclusive=nb),
        incoming=SideQuality(
            fvu=_share(missed[1], spread[1]), exclusive_alive=int(alive_F[dfc.latents - ni :].sum()), exclusive=ni
        ),
        l0=active / int(held.sum()),
        dead_share=1 - float(alive_F.double().mean()),
        vectors_seen=vectors_seen,
    )


def _share(missed: float, spread: float) -> float:
    """Unexplained over total; activations that do not vary are explained unless something was added to them."""
    if spread == 0:
        return 0.0 if missed == 0 else 1.0
    return missed / spread
