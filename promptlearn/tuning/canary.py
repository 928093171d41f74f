"""The canary: did the adapter that was published reach the model that samples?

A sampler that goes on with an old adapter looks healthy: rewards stand still, nothing fails. So each adapter carries a
sequence with its log-probabilities under the learner, new and before, and the sampler must come nearer to the new ones.
Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from promptlearn.errors import TuningError
from promptlearn.tuning.base import Canary

TOLERANCE = 1e-3
"""Mean distance of log-probabilities, nats, that arithmetic in 32 bits stays far below."""


def check(canary: Canary, measured: Sequence[float], tolerance: float = TOLERANCE) -> None:
    """`measured` are the sampler's log-probabilities of the canary's tokens from the second on.

    Raises TuningError where they are further from the learner's than `tolerance`, and than half the way that the
    adapter has moved since it was last published.
    """
    distance = _distance(measured, canary.logprobs)
    moved = _distance(canary.logprobs, canary.stale)
    if math.isfinite(distance) and (distance <= tolerance or distance <= moved / 2):
        return
    stale = _distance(measured, canary.stale) <= max(tolerance, moved / 2)
    seems = "it still has the adapter published before" if stale else "it has another adapter or another model"
    raise TuningError(
        f"the adapter did not reach the sampler: its log-probabilities are {distance:.4f} nats per token away from the"
        f" learner's, and publishing should have moved them by {moved:.4f}; {seems}"
    )


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    if len(a) != len(b):
        raise TuningError(f"the sampler scored {len(a)} tokens of the canary instead of {len(b)}")
    return fmean(abs(x - y) for x, y in zip(a, b, strict=True))
