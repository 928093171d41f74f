"""A race on the road: feeds `selection.race` with rows, runs ahead of its decisions, gives up what they drop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from promptlearn.contract import learned_tokens
from promptlearn.errors import BudgetSpent
from promptlearn.evaluation import Want
from promptlearn.optimizer.reading import Reader
from promptlearn.records import Candidate, Decision, Example
from promptlearn.selection.race import Race


async def run_race(
    incumbent: Candidate,
    candidates: Sequence[Candidate],
    validation: Sequence[Example],
    alpha: float,
    reader: Reader,
    chance: str,
    ties: Mapping[str, float] | None = None,
) -> tuple[list[Decision], BudgetSpent | None]:
    """One decision per candidate; with the error where the budget ended the race, because what it has proven so far
    counts.

    The rows that the incumbent has run come first, in another order in each race (by `chance`): where all races began
    with the same few rows, an incumbent that was lucky on them would turn away every candidate there. Of equals the
    one goes on of which `ties` is smaller, by default the shorter.
    """
    known = [example for example in validation if reader.has("validation", (incumbent.digest, example.id))]
    Random(chance).shuffle(known)  # noqa: S311 - no secret
    by_id = {example.id: example for example in [*known, *validation]}
    by_digest = {candidate.digest: candidate for candidate in [incumbent, *candidates]}
    prices = ties or {candidate.digest: learned_tokens(candidate.prompt) for candidate in candidates}
    race = Race(incumbent.digest, prices, list(by_id), alpha)
    ahead = reader.ahead()
    try:
        while not race.finished:
            digests = [incumbent.digest, *race.alive] if race.runs_incumbent else race.alive
            prompts = [by_digest[digest].prompt for digest in digests]
            block = [by_id[example] for example in race.wanted()]
            coming = [by_id[example] for example in race.coming(reader.reach(len(prompts)))]
            ahead.want([Want(prompt, example, "validation") for example in coming for prompt in prompts])
            rows = await reader.rows(prompts, block, "validation")
            race.observe({digest: [row.score for row in own] for digest, own in zip(digests, rows, strict=True)})
    except BudgetSpent as spent:
        return race.decisions(), spent
    finally:
        ahead.want([])
    return race.decisions(), None
