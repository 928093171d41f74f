"""Compare: what runs came to beside each other, and two of their prompts on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

import streamlit as st

from promptlearn import charts as draw
from promptlearn.records import Split
from promptlearn_app import charts, downloads, reads, safe, words

if TYPE_CHECKING:
    from promptlearn.report import Comparison, RunReport, RunSummary

AT_FIRST = 6
"""Runs that are shown before anybody chooses."""


def page() -> None:
    st.title("Compare")
    summaries = {one.id: one for one in reads.runs() if not one.is_evaluation}
    if len(summaries) < 2:
        safe.empty(
            "There is nothing to compare yet",
            "Two runs are needed: with another judge, another model, more examples or another seed. "
            "`promptlearn batch` runs a whole matrix of them under one budget.",
            "promptlearn run --set search.seed=1",
        )
        return
    picked = st.multiselect(
        "Runs", list(summaries), default=_wanted(summaries), format_func=lambda id: _name(summaries[id]), key="compared"
    )
    chosen = [id for id in picked if id in summaries]  # a browser may answer with the words of a moment ago
    if len(chosen) < 2:
        safe.note("Choose two runs or more.")
        return
    st.query_params["runs"] = ",".join(chosen)
    found = [reads.run(id) for id in chosen]
    _outcomes(found)
    _paired(found)


def _wanted(summaries: dict[str, RunSummary]) -> list[str]:
    named = [id for id in st.query_params.get("runs", "").split(",") if id in summaries]
    return named or list(summaries)[:AT_FIRST]


def _name(one: RunSummary) -> str:
    return f"…{one.id[-6:]} · {words.ago(one.created_at)} · {words.STATES.get(one.state, one.state)}"


def _short(found: RunReport) -> str:
    return f"…{found.id[-6:]}"


def _outcomes(found: list[RunReport]) -> None:
    import pandas as pd

    frame = pd.DataFrame([_row(one) for one in found])
    st.subheader("What each came to")
    spec = draw.gains([(_short(one), one.summary.delta, _interval(one)) for one in found])
    if spec is not None:
        charts.show(spec, "gains", "gains")
    figure = st.column_config.NumberColumn(format="%.3f", width="small")
    st.dataframe(
        frame,
        hide_index=True,
        key="compare_table",
        column_config={"Before": figure, "After": figure, "Gain": st.column_config.NumberColumn(format="%+.3f")},
    )
    safe.note("Scores are means over each run's own rows. Intervals that overlap do not tell runs apart.")
    downloads.table(frame, "compare", "compare")


def _row(found: RunReport) -> dict[str, object]:
    summary, used = found.summary, list(found.usage.values())
    known = [usage.cost_usd for usage in used]
    cost = None if None in known else sum(value for value in known if value is not None)
    low, high = _interval(found) or (None, None)
    return {
        "Run": _short(found),
        "What it came to": words.DECISIONS.get(summary.decision or "", words.STATES.get(summary.state, summary.state)),
        "Before": summary.baseline_score,
        "After": summary.best_score,
        "Gain": summary.delta,
        "Scored on": words.rows_of(summary.split) if summary.best_score is not None else "",
        "95 % interval": words.span(low, high),
        "Calls": sum(usage.calls + usage.cached_calls for usage in used),
        "Cost": words.money(cost),
        "Versions tried": len(found.candidates),
        "Time": words.seconds(summary.active_seconds),
        "Seed": str(summary.seed),
    }


def _interval(found: RunReport) -> tuple[float, float] | None:
    result = found.result if isinstance(found.result, dict) else {}
    ci95 = (result.get("delta") or {}).get("ci95")
    return (ci95[0], ci95[1]) if ci95 else None


def _paired(found: list[RunReport]) -> None:
    """The best prompts of these runs on the rows that they share."""
    import pandas as pd

    st.subheader("On the same rows")
    split = cast("Split", st.selectbox("Rows", get_args(Split), index=2, key="pair_split"))
    comparison = reads.compared([one.id for one in found], split)
    frame = pd.DataFrame(
        {
            "Run": f"…{pair.run[-6:]}",
            "Against": f"…{pair.against[-6:]}",
            "Rows in common": pair.n,
            "Difference": pair.difference if pair.n else None,
            "95 % interval": words.span(pair.ci95.low, pair.ci95.high) if pair.n else "no row in common",
            "p": pair.p_value if pair.n else None,
            "Better": pair.better,
            "Worse": pair.worse,
        }
        for pair in comparison.pairs
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="pairs_table",
        column_config={
            "Difference": st.column_config.NumberColumn(format="%+.3f"),
            "p": st.column_config.NumberColumn(format="%.3g", help="Paired; below 0.05 chance hardly explains it"),
        },
    )
    downloads.table(frame, "pairs", "pairs")
    names = {arm.summary.id: f"…{arm.summary.id[-6:]}" for arm in comparison.arms}
    _specialists(comparison, list(names.values()))
    _cost(comparison, names)


def _specialists(comparison: Comparison, names: list[str]) -> None:
    """Which run wins on which rows."""
    import pandas as pd

    found = comparison.specialists
    st.subheader("Who is best at what")
    if not found.n:
        safe.note("These runs share no judged row, so nothing can be said.")
        return
    spec = draw.specialists(found.kinds, names, found.by)
    if spec is None:
        safe.note("The rows fall into no kinds: give the table a domain column, or answers that are a few labels.")
    else:
        charts.show(spec, "specialists", "specialists")
        safe.note("Mean score by kind of row, on rows that all of these runs judged. ★ better than all others there.")
    frame = pd.DataFrame(
        {
            "Run": name,
            "Better than all others on": words.plural(alone, "row"),
            "Best kinds": ", ".join(kind.name for kind in found.kinds if kind.winner == number) or "none",
        }
        for number, (name, alone) in enumerate(zip(names, found.alone, strict=True))
    )
    st.dataframe(frame, hide_index=True, key="specialists_table")
    downloads.table(frame, "specialists", "specialists")


def _cost(comparison: Comparison, names: dict[str, str]) -> None:
    import pandas as pd

    spec = draw.curves([(names[arm.summary.id], arm.curve) for arm in comparison.arms])
    st.subheader("What each score cost")
    if spec is not None:
        charts.show(spec, "cost", "cost")
    frame = pd.DataFrame(
        {
            "Run": names[arm.summary.id],
            "The run cost": words.money(arm.usage.cost_usd),
            "Tokens of the run": arm.usage.input_tokens + arm.usage.output_tokens,
            "1,000 answers cost": words.money(None if arm.answer.cost_usd is None else 1000 * arm.answer.cost_usd),
            "Tokens per answer": arm.answer.input_tokens + arm.answer.output_tokens,
        }
        for arm in comparison.arms
    )
    st.dataframe(frame, hide_index=True, key="costs_table")
    downloads.table(frame, "costs", "costs")
    for one in comparison.break_evens:
        when = f"from {one.answers:,} answers on" if one.answers else "from the first answer on"
        safe.note(f"{names[one.run]} has cost less than {names[one.against]}, learning included, {when} ({one.unit}).")
    if not comparison.break_evens:
        safe.note("An answer costs the same with all of them, so the cheaper run stays the cheaper one.")
