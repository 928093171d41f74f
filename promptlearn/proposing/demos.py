"""Chooses demonstrations from the train split that cover the failure modes. Needs no language model.

Knows the train examples and which of them the parent fails; whether a draft is better is measured elsewhere. Where the
answers are labels, each label gets examples that stand for its own rows and not for another label's; elsewhere the
choice is diverse, failed rows first. Every other draft shows the rows, too, that approved reviews are about. Drafts
differ in how many they choose and in the chance subset they choose from.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, zip_longest
from statistics import median
from typing import TYPE_CHECKING

from promptlearn.contract import violations
from promptlearn.proposing.answers import answer_set
from promptlearn.proposing.base import Brief
from promptlearn.proposing.likeness import representatives, similarities
from promptlearn.proposing.reviewed import reviewed_rows
from promptlearn.proposing.wording import MAX_RULE_LENGTH, normalised, says
from promptlearn.records import Demonstration, Draft, Example, Prompt, Rule, as_text

if TYPE_CHECKING:
    from promptlearn.proposing.likeness import Matrix

_POOL = 60
"""Rows per label that a choice looks at; likeness takes the square of their number."""
_SUBSET = 0.75
"""Share of the pool that one draft chooses from, so that drafts differ."""
_CHOICES = ((3, True), (2, True), (4, True), (2, False))
"""Demonstrations per label, and whether the list of answers is stated too."""
_UNLABELLED = (4, 8)
_PLAIN_POOL = 300
_MOST_ADDED = 8
_ATTEMPTS = 12
"""Plans tried before fewer drafts than asked for are returned."""
_MAX_LENGTH = 2.0
"""A demonstration longer than this multiple of the median costs more tokens than it teaches."""
_CONFUSABLE = 1.0
"""How much likeness to the nearest other label counts against a demonstration."""


class DemosProposer:
    """Drafts that carry other demonstrations than the parent."""

    name = "demos"

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        # Likeness takes the square of the rows: seconds, for many labels, in which calls under way must go on.
        return await asyncio.to_thread(_drafts, brief, count)

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        """None: what breaks the contract was already left out."""
        return None


def _drafts(brief: Brief, count: int) -> list[Draft]:
    labels = answer_set(brief.train)
    pool = _pool(brief, bool(labels))
    if not pool:
        return []
    plans = _labelled(brief, pool, answers_rule(brief, labels)) if labels else _unlabelled(brief, pool)
    drafts: dict[str, Draft] = {}
    for plan in plans:
        prompt = _fitting(brief.parent, plan)
        if prompt.demonstrations and prompt.demonstrations != brief.parent.demonstrations:
            drafts.setdefault(prompt.digest, Draft(prompt, plan.why))
        if len(drafts) >= count:
            break
    return list(drafts.values())[:count]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one draft shows."""

    demonstrations: Sequence[Demonstration]
    why: str
    rule: Rule | None = None
    """The list of answers, where the draft states it too."""


def _pool(brief: Brief, labelled: bool) -> list[Example]:
    """Train examples that can be demonstrations: answered, of usual length, each text once, none with two answers.

    At most `_POOL` per label (or `_PLAIN_POOL` in all), failed ones first. Where a label has rows enough, those that
    the critique is about stay out: drafts are measured on them, and a row that the prompt shows proves nothing.
    """
    answers: dict[str, set[str]] = defaultdict(set)
    first: dict[str, Example] = {}
    for example in brief.train:
        if example.expected is not None and as_text(example.expected):
            key = normalised(_text(example))
            answers[key].add(as_text(example.expected))
            first.setdefault(key, example)
    found = _of_usual_length([example for key, example in first.items() if len(answers[key]) == 1])
    random.Random(brief.seed).shuffle(found)  # noqa: S311 - no secret
    found.sort(key=lambda example: example.id not in brief.failed)
    if labelled:
        kept = [row for group in _groups(found) for row in _unmeasured(group, brief)[:_POOL]]
    else:
        kept = found[:_PLAIN_POOL]
    return [example for example in kept if _safe(example, brief.parent)]


def _groups(rows: Sequence[Example]) -> list[list[Example]]:
    return [[rows[i] for i in indices] for indices in _by_label(rows).values()]


def _unmeasured(rows: list[Example], brief: Brief) -> list[Example]:
    """One label's rows without those of the critique, if that leaves a choice."""
    measured = {id_ for mode in brief.modes for id_ in mode.examples} | {row.id for row in brief.kept}
    others = [row for row in rows if row.id not in measured]
    return others if len(others) > max(size for size, _ in _CHOICES) else rows


def _of_usual_length(examples: list[Example]) -> list[Example]:
    """Without the very long ones, as long as every answer keeps an example."""
    if not examples:
        return []
    longest = _MAX_LENGTH * median(len(_text(example)) for example in examples)
    short = [example for example in examples if len(_text(example)) <= longest]
    answers = {as_text(example.expected) for example in short}
    return short + [example for example in examples if as_text(example.expected) not in answers]


def _safe(example: Example, parent: Prompt) -> bool:
    """Whether the contract lets this example into the prompt, its length aside."""
    roomy = replace(parent, contract=replace(parent.contract, max_tokens=None))
    return not violations(replace(roomy, demonstrations=(*parent.demonstrations, _shown(example))), roomy)


def _text(example: Example) -> str:
    return "\n".join(as_text(value) for value in example.inputs.values())


def _shown(example: Example) -> Demonstration:
    return Demonstration(example.inputs, as_text(example.expected), example.id)


def answers_rule(brief: Brief, labels: Sequence[str]) -> Rule | None:
    """The rule that lists the answers; None where the prompt names them all, or where the list is too long for a rule.

    Small models that see demonstrations alone make up answers of the same kind.
    """
    text = f"Answer with exactly one of these labels and nothing else: {', '.join(sorted(labels))}."
    named = all(says(brief.parent.learned_text(), label) for label in labels)
    first = {row.expected: row.id for row in reversed(brief.train)}
    rule = Rule(text, tuple(first[label] for label in sorted(labels)))
    if named or len(text) > MAX_RULE_LENGTH or _broken(brief.parent, Plan((), "", rule)):
        return None
    return rule


def _fitting(parent: Prompt, plan: Plan) -> Prompt:
    """The parent with what the plan shows instead of its own, the last ones cut until the contract is kept."""
    for size in range(len(plan.demonstrations), 0, -1):
        smaller = replace(plan, demonstrations=plan.demonstrations[:size])
        if not _broken(parent, smaller):
            return _with(parent, smaller)
    return parent


def _with(parent: Prompt, plan: Plan) -> Prompt:
    rules = parent.rules if plan.rule is None else (*parent.rules, plan.rule)
    return replace(parent, rules=rules, demonstrations=tuple(plan.demonstrations))


def _broken(parent: Prompt, plan: Plan) -> list[str]:
    return violations(_with(parent, plan), parent)


def _labelled(brief: Brief, pool: Sequence[Example], listing: Rule | None) -> Iterator[Plan]:
    """Fresh choices of different size; a parent's own demonstrations are also mended where it fails."""
    choices = _choices(random.Random(brief.seed))  # noqa: S311 - no secret
    extras = cycle([reviewed_rows(brief.reviews, pool, answer_set(brief.train)), []])
    for i in range(_ATTEMPTS):
        rng = random.Random(f"{brief.seed}/{i}")  # noqa: S311 - no secret
        if brief.parent.demonstrations and i % 2 == 0:
            yield _added(brief, pool, rng) if i % 4 == 0 else _exchanged(brief, pool, rng)
        else:
            size, listed = next(choices)
            rule = listing if listed else None
            extra = next(extras)
            shown = _interleaved(_per_label([row for row in pool if row not in extra], size, rng), rng)
            why = f"representative demonstrations, {size} for each of: {_answers(shown)}"
            why += "; and the list of answers" if rule else ""
            why += f"; and {len(extra)} that reviewers' comments are about" if extra else ""
            yield Plan([*map(_shown, rng.sample(extra, len(extra))), *shown], why, rule)


def _choices(rng: random.Random) -> Iterator[tuple[int, bool]]:
    """How many demonstrations per label, and whether with the list of answers: the usual best first, then by chance."""
    while True:
        yield _CHOICES[0]
        yield from rng.sample(_CHOICES[1:], len(_CHOICES) - 1)


def _per_label(pool: Sequence[Example], size: int, rng: random.Random) -> list[list[Example]]:
    """For each label its most representative rows, the best first."""
    rows = _subset(pool, rng)
    likeness = similarities([_text(row) for row in rows])
    indices = _by_label(rows)
    chosen: list[list[Example]] = []
    for label, own in indices.items():
        others = [at for other, at in indices.items() if other != label]
        picks = representatives(likeness[own][:, own], _confusable(likeness, own, others), size)
        chosen.append([rows[own[pick]] for pick in picks])
    return chosen


def _added(brief: Brief, pool: Sequence[Example], rng: random.Random) -> Plan:
    """One demonstration more for each label that the parent fails on.

    They stand in front, because small models lean to the answers that they saw last.
    """
    added = [*_near_failed(brief, pool, rng).values()]
    rng.shuffle(added)
    why = f"adds demonstrations of what the parent fails: {_answers(added)}"
    return Plan((*added, *brief.parent.demonstrations), why)


def _exchanged(brief: Brief, pool: Sequence[Example], rng: random.Random) -> Plan:
    """For each label that the parent fails on, one of its demonstrations is exchanged in its place."""
    shown = list(brief.parent.demonstrations)
    new = _near_failed(brief, pool, rng)
    for label, demo in new.items():
        if places := [i for i, old in enumerate(shown) if old.output == label]:
            shown[rng.choice(places)] = demo
    return Plan(shown, f"exchanges demonstrations of what the parent fails: {_answers([*new.values()])}")


def _near_failed(brief: Brief, pool: Sequence[Example], rng: random.Random) -> dict[str, Demonstration]:
    """For each label that the parent fails on, the row most like its failed ones that the prompt does not show yet."""
    shown = {demo.source for demo in brief.parent.demonstrations}
    rows = _subset([row for row in pool if row.id not in shown], rng)
    failed = [row for row in brief.train if row.id in brief.failed and row.expected is not None][:_PLAIN_POOL]
    likeness = similarities([_text(row) for row in [*rows, *failed]])
    indices, missed = _by_label(rows), _by_label(failed)
    found: dict[str, Demonstration] = {}
    for label in sorted(missed, key=lambda label: -len(missed[label]))[:_MOST_ADDED]:
        if own := indices.get(label):
            penalty = _confusable(likeness, own, [at for other, at in indices.items() if other != label])
            near = likeness[own][:, [len(rows) + at for at in missed[label]]].mean(axis=1)
            found[label] = _shown(rows[own[max(range(len(own)), key=lambda i: float(near[i]) - penalty[i])]])
    return found


def _subset(rows: Sequence[Example], rng: random.Random) -> list[Example]:
    """A chance part of the rows, at most `_POOL` per label, and never a label without a row."""
    kept: list[Example] = []
    for own in _by_label(rows).values():
        size = min(_POOL, max(1, round(_SUBSET * len(own))))
        kept += [rows[i] for i in sorted(rng.sample(own, size))]
    return kept


def _by_label(rows: Sequence[Example]) -> dict[str, list[int]]:
    indices: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        indices[as_text(row.expected)].append(i)
    return dict(sorted(indices.items()))


def _confusable(likeness: Matrix, own: list[int], others: Sequence[list[int]]) -> list[float]:
    """For each of a label's rows, its mean likeness to the rows of the label that it is most like among the others."""
    if not others:
        return [0.0] * len(own)
    means = [likeness[own][:, other].mean(axis=1) for other in others]
    return [_CONFUSABLE * max(float(mean[i]) for mean in means) for i in range(len(own))]


def _interleaved(chosen: Sequence[Sequence[Example]], rng: random.Random) -> list[Demonstration]:
    """Round by round one row of each label, the labels of a round in a chance order."""
    shown: list[Demonstration] = []
    for round_ in zip_longest(*chosen):
        rows = [_shown(row) for row in round_ if row is not None]
        rng.shuffle(rows)
        shown += rows
    return shown


def _unlabelled(brief: Brief, pool: Sequence[Example]) -> Iterator[Plan]:
    """Diverse rows, the failed ones first; after the parent's own demonstrations and without them in turn."""
    own = brief.parent.demonstrations
    shown = {demo.source for demo in own}
    reviewed = {row.id for row in reviewed_rows(brief.reviews, pool)}
    for i in range(_ATTEMPTS):
        rng = random.Random(f"{brief.seed}/{i}")  # noqa: S311 - no secret
        extends = bool(own) and i % 2 == 0
        free = [row for row in pool if not (extends and row.id in shown)]
        rows = rng.sample(free, min(_PLAIN_POOL, max(1, round(_SUBSET * len(free))))) if free else []
        first = [row for row in free if row.id in reviewed]
        first += [row for row in rows if row.id in brief.failed and row.id not in reviewed]
        size = _UNLABELLED[i % len(_UNLABELLED)]
        chosen = _diverse([*first, *(row for row in rows if row not in first)], len(first), size)
        demos = tuple(_shown(row) for row in chosen)
        yield Plan((*own, *demos) if extends else demos, f"{len(demos)} different demonstrations, failed ones first")


def _diverse(rows: Sequence[Example], failed: int, size: int) -> list[Example]:
    """Farthest-first: each pick is the row least like those picked, of the first `failed` rows while there are any."""
    if not rows:
        return []
    likeness = similarities([_text(row) for row in rows])
    picks = [0]
    while len(picks) < min(size, len(rows)):
        first = [i for i in range(failed) if i not in picks]
        left = first or [i for i in range(len(rows)) if i not in picks]
        picks.append(min(left, key=lambda i: (float(likeness[i, picks].max()), i)))
    return [rows[i] for i in picks]


def _answers(demos: Sequence[Demonstration]) -> str:
    return ", ".join(dict.fromkeys(demo.output for demo in demos))
