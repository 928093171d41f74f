"""A race on the road: feeds `selection.race` with rows, runs ahead of its decisions, gives up what they drop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random

from promptlearn.contract import learned_tokens
from promptlearn.errors import BudgetSpent
from promptlearn.evaluation import Want
from promptlearn.optimizer.pursuing import Pursuit
from promptlearn.optimizer.reading import Reader
from promptlearn.records import Candidate, Decision, Example, Prompt, Split
from promptlearn.selection.race import Race


async def run_race(
    incumbent: Candidate,
    candidates: Sequence[Candidate],
    validation: Sequence[Example],
    alpha: float,
    reader: Reader,
    chance: str,
    ties: Mapping[str, float] | None = None,
    fresh: Sequence[Example] = (),
    pursuit: Pursuit | None = None,
) -> tuple[list[Decision], BudgetSpent | None]:
    """One decision per candidate; with the error where the budget ended the race, because what it has proven so far
    counts.

    The rows that the incumbent has run come first, in another order in each race (by `chance`): where all races began
    with the same few rows, an incumbent that was lucky on them would turn away every candidate there. `fresh` are train
    rows for extra time, which is left out where the budget does not hold it. Of equals the one goes on of which `ties`
    is smaller, by default the shorter. In `pursuit` of another objective than quality the race is by that, without
    extra time, and reads the baseline too.
    """
    known = [example for example in validation if reader.has("validation", (incumbent.digest, example.id))]
    Random(chance).shuffle(known)  # noqa: S311 - no secret
    by_id = {example.id: example for example in [*known, *validation]}
    extra = {example.id: example for example in fresh if example.id not in by_id}
    beside = (
        [incumbent] if pursuit is None else list({one.digest: one for one in (incumbent, pursuit.baseline)}.values())
    )
    by_digest = {candidate.digest: candidate for candidate in [*beside, *candidates]}
    prices = ties or {candidate.digest: learned_tokens(candidate.prompt) for candidate in candidates}
    by_lead = None if pursuit is None else pursuit.race(incumbent.digest, prices, list(by_id), alpha)
    race = by_lead or Race(incumbent.digest, prices, list(by_id), alpha, list(extra))
    ahead = reader.ahead()
    try:
        while not race.finished:
            digests = [*(one.digest for one in beside), *race.alive] if race.runs_incumbent else race.alive
            prompts = [by_digest[digest].prompt for digest in digests]
            split: Split = "train" if race.in_extra_time else "validation"
            rows_of = extra if race.in_extra_time else by_id
            block = [rows_of[example] for example in race.wanted()]
            coming = [rows_of[example] for example in race.coming(reader.reach(len(prompts)))]
            ahead.want([Want(prompt, example, split) for example in coming for prompt in prompts])
            rows = await reader.rows(prompts, block, split)
            columns = dict(zip(digests, rows, strict=True))
            if pursuit is not None and by_lead is not None:
                pursuit.see(by_lead, columns)
            else:
                race.observe({digest: [row.score for row in own] for digest, own in columns.items()})
    except BudgetSpent as spent:
        return race.decisions(), None if race.in_extra_time else spent
    finally:
        ahead.want([])
        if by_lead is not None:
            reader.earned(by_lead.gains())
    return race.decisions(), None


def fresh_rows(
    train: Sequence[Example],
    unequal: Collection[str],
    learned: Collection[str],
    racing: Sequence[Prompt],
    count: int,
    has: Callable[[str], bool],
) -> list[Example]:
    """At most `count` train rows that favour none of these prompts: none shows them, and none is `unequal`, which is
    what some learned from and others did not.

    Those from which nobody learned come first, and of them those that the incumbent `has` run; otherwise the last ones
    of the split, because critiques begin with the first.
    """
    shown = {demo.source for prompt in racing for demo in prompt.demonstrations}
    fair = [example for example in reversed(train) if example.id not in unequal and example.id not in shown]
    return sorted(fair, key=lambda example: (example.id in learned, not has(example.id)))[:count]
