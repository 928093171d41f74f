"""From failure modes to drafts of a better prompt: one small file per proposer.

Knows briefs and drafts; whether a draft keeps its contract, and whether it is better, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from promptlearn.errors import ConfigError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief, Proposer
from promptlearn.proposing.demos import DemosProposer
from promptlearn.proposing.edit import EditProposer
from promptlearn.proposing.merge import MergeProposer
from promptlearn.proposing.meta import MetaPrompt
from promptlearn.proposing.prune import Drop, PruneProposer, drops
from promptlearn.proposing.rewrite import RewriteProposer
from promptlearn.proposing.rules import RulesProposer

__all__ = ["ALWAYS_ASK", "MAY_ASK", "PROPOSERS", "Brief", "Drop", "Proposer", "drops", "open_proposer"]

_WITH_OR_WITHOUT: Mapping[str, Callable[[Model | None, MetaPrompt | None], Proposer]] = {
    "rules": RulesProposer,
    "prune": PruneProposer,
    "merge": MergeProposer,
}
_WITH_MODEL: Mapping[str, Callable[[Model, MetaPrompt | None], Proposer]] = {
    "rewrite": RewriteProposer,
    "edit": EditProposer,
}
ALWAYS_ASK = frozenset(_WITH_MODEL)
"""Proposers that ask a language model whenever they propose."""
MAY_ASK = ALWAYS_ASK | frozenset(_WITH_OR_WITHOUT)
"""Those that ask one where it is there."""
PROPOSERS: tuple[str, ...] = ("rewrite", "edit", "rules", "demos", "prune", "merge")


def open_proposer(name: str, *, model: Model | None, meta_prompt: str | None = None) -> Proposer:
    """The proposer of that name; `meta_prompt` is the path of a file that stands in for the shipped one.

    `rules`, `prune` and `merge` work with a model and without, `demos` never asks one. Raises `ConfigError` for an
    unknown name, and for `rewrite` and `edit` without a model; `AssetError` for a meta-prompt that can not be read.
    """
    own = MetaPrompt.load(meta_prompt) if meta_prompt else None
    if name == DemosProposer.name:
        return DemosProposer()
    if name in _WITH_OR_WITHOUT:
        return _WITH_OR_WITHOUT[name](model, own)
    if name not in _WITH_MODEL:
        raise ConfigError(f"search.proposers: no proposer {name!r}; possible: {', '.join(PROPOSERS)}")
    if model is None:
        raise ConfigError(
            f"search.proposers: {name} needs a language model; set models.meta, or use rules, demos, merge"
        )
    return _WITH_MODEL[name](model, own)
