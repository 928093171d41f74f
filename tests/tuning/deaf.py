"""A sampler with a fault that the canary is there for."""

from __future__ import annotations

from promptlearn.tuning.base import Adapter
from promptlearn.tuning.local.sampler import LocalSampler


class Deaf(LocalSampler):
    """An adapter is accepted and never loaded."""

    def _publish(self, adapter: Adapter) -> None:
        path, self._policy.publish = self._policy.publish, lambda path: None  # type: ignore[method-assign]
        try:
            super()._publish(adapter)
        finally:
            self._policy.publish = path  # type: ignore[method-assign]
