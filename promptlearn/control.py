"""What a person asks of a run: pause, resume, stop, raise the budget, label an output. Writes requests; runs nothing.

A run that works looks for requests about once a second and answers each (`report.requests` shows what came of it). A
label is kept at once, as a verdict of kind `human` beside the judges' own, which it never replaces; it also counts
where judges are held against people, and `settle` gives one where both differ. Plain calls, for commands and pages: the
one place where they cross to async.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

from promptlearn.errors import UsageError
from promptlearn.records import Example, Json, Rollout, Verdict
from promptlearn.redaction import redact
from promptlearn.report import example_detail, judge_labels, locate
from promptlearn.report.names import find_run
from promptlearn.steering import CAPS
from promptlearn.store.judge_rows import HumanLabel, score_word
from promptlearn.store.request_rows import RequestRow
from promptlearn.store.rows import HUMAN

if TYPE_CHECKING:
    from promptlearn.store import Store

T = TypeVar("T")


def pause(store: Store, run: str, who: str) -> RequestRow:
    """Ask a run to begin no new call until it is resumed. Raises `UsageError` for one that does not work."""
    return _ask(store, run, "pause", who)


def resume(store: Store, run: str, who: str) -> RequestRow:
    """Ask a paused run to go on. One that ended goes on with `promptlearn resume`, not with this."""
    return _ask(store, run, "resume", who)


def stop(store: Store, run: str, who: str) -> RequestRow:
    """Ask a run to end its calls and save, as Ctrl-C does; `promptlearn resume` goes on from there."""
    return _ask(store, run, "stop", who)


def raise_budget(store: Store, run: str, who: str, caps: Mapping[str, float]) -> RequestRow:
    """Ask a run to go on with higher caps, such as `{"task_calls": 800}`; caps that are higher already stay.

    They hold when the run is resumed later, too. Raises `UsageError` for what is no cap.
    """
    wrong = next((name for name, value in caps.items() if name not in CAPS or not 0 < value < inf), None)
    if wrong is not None or not caps:
        raise UsageError(f"{wrong or 'nothing'} is no cap to raise: possible are {', '.join(CAPS)}, above 0")
    return _ask(store, run, "raise", who, {"caps": dict(caps)})


def label(
    store: Store,
    run: str,
    example: str,
    said: float | str,
    who: str,
    words: str = "",
    version: str | int = "best",
    judge: str = "",
) -> Verdict:
    """Keep what a person says about an output, and why: a score from 0 to 1, or one of the labels of `judge`.

    `judge` names whose question was answered; empty: whether the answer as a whole is right. A later word of theirs to
    the same question replaces it. Raises `UsageError` for an example that the version was not run on, for a judge
    that did not judge it, and for a label that it does not have.
    """
    if not isinstance(said, str) and not 0 <= said <= 1:
        raise UsageError(f"a score is a number from 0 to 1, not {said:g}")
    name, words = _name(who), redact(words)
    found = locate(store, run, version)
    detail = example_detail(store, found.run, example, found.digest)
    rollout = detail.rollout
    if rollout is None or rollout.error is not None:
        raise UsageError(f"prompt {found.digest[:8]} has no output for example {example}, so there is nothing to label")
    judged = [one.name for one in detail.verdicts]
    if judge and judge not in judged:
        raise UsageError(f"no judge {judge} judged this answer: possible are {', '.join(judged) or 'none'}")
    meant = _in_label(store, found.run, judge, said) if isinstance(said, str) else _in_score(said)
    verdict = Verdict(
        name=HUMAN + (f"{name}@{judge}" if judge else name),
        rollout=rollout.id,
        score=meant.score,
        label=meant.label,
        explanation=words,
        passed=meant.passed,
        kind="human",
        source=name,
        about=judge,
    )

    async def keep() -> None:
        await store.add_verdicts(found.run, [verdict])
        kept = HumanLabel(detail.example, rollout, meant.label, words, name, judge, score=meant.score)
        await store.judges.label([kept])
        body = {"version": found.digest, "example": example, "score": meant.score, "label": meant.label}
        body |= {"words": words, "judge": judge}
        await store.requests.add(found.run, "label", name, body, "done", "kept beside the judges' verdicts")

    run_now(keep())
    return verdict


def settle(store: Store, judge: str, item: str, said: str, who: str, words: str = "") -> HumanLabel:
    """Decide a disagreement of the judge's newest calibration: the next one counts this label for the output.

    `item` names the output there, and `said` is one of the labels that were compared. Raises `UsageError` for others.
    """
    name = _name(who)
    newest = store.judges.items("agreement", judge)
    body: Json = newest[0].body if newest else {}
    case = next((one for one in body.get("disagreements", ()) if one["item"] == item), None)
    if case is None:
        raise UsageError(f"the newest calibration of judge {judge} has no disagreement {item}")
    if said not in body["labels"]:
        raise UsageError(f"{said!r} is no label of this comparison: possible are {', '.join(body['labels'])}")
    known = next((one for one in store.judges.labels(judge, whole=True) if one.item == item), None)
    if known is None:  # of a table
        example = Example(case["example"], case["inputs"], case["expected"])
        known = HumanLabel(example, Rollout("human", case["example"], case["output"]), said, judge=judge)
    label = replace(known, label=said, explanation=redact(words), person=name, at="", score=None)
    run_now(store.judges.label([label]))
    return label


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a person's word is worth."""

    score: float
    label: str
    passed: bool


def _in_score(score: float) -> _Meant:
    return _Meant(score, score_word(score), score >= 1)


def _in_label(store: Store, run: str, judge: str, label: str) -> _Meant:
    own = judge_labels(store, run).get(judge)
    if own is None or label not in own.scores:
        possible = ", ".join(own.scores) if own else "a score from 0 to 1"
        raise UsageError(
            f"{label!r} is no label of {f'judge {judge}' if judge else 'answers'}: possible are {possible}"
        )
    score = own.scores[label]
    return _Meant(score, label, score >= own.pass_at)


def _name(who: str) -> str:
    name = " ".join(who.split())
    if not name:
        raise UsageError("a label needs the name of who gives it")
    return name


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """Await something from plain code, also where an event loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _ask(store: Store, which: str, kind: str, who: str, body: Json = None) -> RequestRow:
    row = find_run(store, which)
    if row.id not in store.running():
        advice = f"go on with it by `promptlearn resume {row.id}`" if row.state != "finished" else "it is finished"
        raise UsageError(f"run {row.id} is not at work on this machine: {advice}")
    return run_now(store.requests.add(row.id, kind, who, body))
