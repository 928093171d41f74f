"""Examinations of judges: the newest of each kind, and what people say about outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.store.judge_rows import CheckKind, HumanLabel, JudgeCheck

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class Examined:
    """What is known about one judge; None where it was not examined. Bodies have the keys of docs/judges.md."""

    judge: str
    source: str
    """As of the newest examination: `name@version` of the judge's file, and its model."""
    noise: JudgeCheck | None
    agreement: JudgeCheck | None
    canary: JudgeCheck | None
    alignment: JudgeCheck | None
    labels: int
    """Outputs that people have labelled in the store for this judge."""
    settled: Mapping[str, HumanLabel]
    """What people have said since about the disagreements of `agreement`, by `item`."""


def examinations(store: Store) -> list[Examined]:
    """Every judge that was examined, by name."""
    newest: dict[str, dict[CheckKind, JudgeCheck]] = {}
    for check in store.judges.items():
        newest.setdefault(check.judge, {}).setdefault(check.kind, check)
    return [_examined(store, judge, newest[judge]) for judge in sorted(newest)]


def examination_history(store: Store, judge: str, kind: CheckKind | None = None) -> list[JudgeCheck]:
    """One judge's examinations of a kind, or of all kinds, the newest first."""
    return store.judges.items(kind, judge)


def human_labels(store: Store, judge: str | None = None, whole: bool = False) -> list[HumanLabel]:
    """What people said, the oldest first; to one judge's question, and with `whole` of answers as a whole."""
    return store.judges.labels(judge, whole)


def _examined(store: Store, judge: str, checks: dict[CheckKind, JudgeCheck]) -> Examined:
    said = store.judges.labels(judge, whole=True)
    return Examined(
        judge=judge,
        source=max(checks.values(), key=lambda check: (check.at, check.id)).source,
        noise=checks.get("noise"),
        agreement=checks.get("agreement"),
        canary=checks.get("canary"),
        alignment=checks.get("alignment"),
        labels=sum(label.judge == judge for label in said),
        settled=_settled(checks.get("agreement"), said),
    )


def _settled(check: JudgeCheck | None, said: Iterable[HumanLabel]) -> dict[str, HumanLabel]:
    if check is None:
        return {}
    items = {case["item"] for case in check.body.get("disagreements", ())}
    return {label.item: label for label in said if label.item in items and label.at > check.at}
