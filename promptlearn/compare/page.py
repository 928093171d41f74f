"""The comparison as a page of Markdown, for people who were not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptlearn.compare.comparison import Arm, Comparison, Pair
from promptlearn.compare.plan import LEVEL, POWER, Plan
from promptlearn.records import Interval


def page(comparison: Comparison, figure: str | None = None) -> str:
    """`figure` is the name of the picture beside the page."""
    plan = comparison.plan
    rows = ", ".join(f"{count} {split}" for split, count in plan.rows.items())
    parts = [
        f"# {' · '.join(plan.arms)}",
        f"{rows} rows; seeds {', '.join(map(str, plan.seeds))}. All arms share splits, judges and decoding; validation "
        "chose prompts and adapters, the test split was read once for each, after everything had been learned.",
        f"![test scores and cost]({figure})" if figure else "",
        "## Scores",
        _table(
            ("arm", "test score (95 % interval)", "by seed", "rows", "not judged"),
            [_score_line(arm) for arm in comparison.arms],
        ),
        "## Differences",
        _power(plan),
        _table(
            ("arms", "difference (95 % interval)", "by seed", "rows won : lost", "p", "p (Holm)", "better"),
            [_pair_line(pair) for pair in comparison.pairs],
        ),
        f"*Better* is an arm that wins at {LEVEL:.0%} for all pairs together, with an interval over seeds and rows "
        "that leaves 0 out. No name does not mean that both are equal.",
        "## Cost",
        "Of learning, for one seed, as if no reply had been known before; and of one answer afterwards.",
        _table(
            ("arm", "calls", "tokens", "device s", "dollars", "wall s", "tokens per answer", "dollars per answer"),
            [_cost_line(arm) for arm in comparison.arms],
        ),
        _break_even(comparison),
        *([] if not plan.warnings else ["## Warnings", "\n".join(f"* {_plain(text)}" for text in plan.warnings)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _power(plan: Plan) -> str:
    """What the plan said of differences."""
    pairs = f"{len(plan.pairs)} pair{'s' * (len(plan.pairs) != 1)}"
    found = f"a difference of {plan.mde:.3f} is found"
    if plan.blind:
        found = f"no difference is found (that takes {plan.rows_needed} rows)"
    return (
        f"Before anything was spent: with {plan.rows['test']} test rows and {pairs}, {found} with {POWER:.0%} power if "
        f"two arms disagree on {plan.discordance:.0%} of the rows. Smaller ones may be there, and not show; and "
        "*better* asks for the interval over seeds too."
    )


def _score_line(arm: Arm) -> Iterator[str]:
    test = arm.test
    name = f"{arm.name} (n = {arm.samples})" if arm.name == "best_of_n" else arm.name
    yield from (name, _with_interval(test.score, test.ci95), _scores(test.by_seed), str(test.n), str(test.errors))


def _pair_line(pair: Pair) -> Iterator[str]:
    gap = pair.gap
    yield f"{pair.b} − {pair.a}"
    yield _with_interval(gap.difference, gap.ci95, "+.3f")
    yield _scores(gap.by_seed, "+.3f")
    yield f"{gap.higher} : {gap.lower}"
    yield f"{gap.p_value:.2g}"
    yield f"{pair.p_holm:.2g}"
    yield pair.better or "–"


def _cost_line(arm: Arm) -> Iterator[str]:
    training, per_call = arm.training, arm.per_call
    yield arm.name
    yield from (f"{training.calls:.0f}", f"{training.tokens:.0f}", f"{training.gpu_s:.0f}")
    yield from (_dollars(training.cost_usd), f"{training.wall_s:.0f}")
    yield from (f"{per_call.tokens:.0f}", _dollars(per_call.cost_usd))


def _break_even(comparison: Comparison) -> str:
    lines = [
        f"* {pair.b} against {pair.a}: from {pair.break_even_calls} calls on."
        for pair in comparison.pairs
        if pair.break_even_calls is not None
    ]
    if not lines:
        return "No arm's learning pays for itself by cheaper calls, or a price is unknown."
    return "\n".join(["Where calls are cheaper, what learning cost comes in again:", "", *lines])


def _table(header: Sequence[str], lines: Sequence[Iterator[str]]) -> str:
    rows = [header, ["---"] * len(header), *map(list, lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _with_interval(value: float | None, interval: Interval, form: str = ".3f") -> str:
    return "–" if value is None else f"{value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def _scores(values: Sequence[float | None], form: str = ".3f") -> str:
    return ", ".join("–" if value is None else f"{value:{form}}" for value in values)


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"{cost:.6f}".rstrip("0").rstrip(".") or "0"


def _plain(text: str) -> str:
    """A line of text from outside, without Markdown's or HTML's characters at work."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in " ".join(text.split()))
