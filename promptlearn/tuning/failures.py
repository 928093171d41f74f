"""Failures: how many rewards may be missing before a run stops (invariant 4). Knows groups, and where a run stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptlearn.errors import TooManyErrors
from promptlearn.tuning.progress import Progress
from promptlearn.tuning.ranking import NAME
from promptlearn.tuning.stream import Group

ENOUGH_TO_TELL = 10
"""Samples, or rankings, before which no share of failures is read into anything."""


def check_failures(groups: Sequence[Group], share: float) -> None:
    """Raise TooManyErrors where more than `share` of a step's samples could not be judged."""
    rewards = [reward for group in groups for reward in group.rewards]
    failed = [reward.error for reward in rewards if reward.value is None and not reward.unranked]
    if len(failed) > share * max(len(rewards), ENOUGH_TO_TELL):
        words, count = Counter(failed).most_common(1)[0]
        raise TooManyErrors(
            f"{len(failed)} of {len(rewards)} samples of a step have no reward, more than search.max_error_share = "
            f"{share:g}; most often ({count}): {words}; mend that and run the same command again"
        )


def check_rankings(groups: Sequence[Group], share: float, progress: Progress) -> None:
    """Count a step's rankings in `progress`; raise TooManyErrors where more than `share` of the run's have failed. A
    step has too few of them to tell: one that fails takes a whole group with it.
    """
    failed = [error for group in groups if (error := _failure(group))]
    progress.rankings += len(failed) + sum(map(_ranked, groups))
    progress.failed_rankings += len(failed)
    if failed and progress.failed_rankings > share * max(progress.rankings, ENOUGH_TO_TELL):
        raise TooManyErrors(
            f"{progress.failed_rankings} of {progress.rankings} groups so far could not be ranked, more than "
            f"search.max_error_share = {share:g}; the last: {failed[-1]}; mend that and run the same command again"
        )


def _failure(group: Group) -> str:
    """Why a group could not be ranked; empty where it could."""
    return next((reward.error for reward in group.rewards if reward.unranked), "")


def _ranked(group: Group) -> bool:
    return any(reward.parts.get(NAME) is not None for reward in group.rewards)
