"""Limits: how fast one model may be called, learned from its answers and capped by the configuration.

Knows time, outcomes and counts; knows no HTTP, no budget and no journal. One `Limiter` per model and endpoint is shared
by everything in the process that runs on the same event loop. `window` is the number of calls in flight, `bucket` the
calls and tokens per minute, `circuit` whether the endpoint is down, `latency` what is slow for this model.
"""

from promptlearn.limits.limiter import Limiter, Limits, Permit, Unlimited, limiter_for

__all__ = ["Limiter", "Limits", "Permit", "Unlimited", "limiter_for"]
