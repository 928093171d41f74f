"""Run: what it came to or is at, each decision, the family of its candidates, and what it used.

While the run works, the page asks every two seconds for what is new, by the number of the last event; when the run
ends it stops asking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from promptlearn import charts as draw
from promptlearn import report
from promptlearn_app import charts, controls, downloads, happenings, reads, safe, words
from promptlearn_app.choice import current_run

if TYPE_CHECKING:
    from promptlearn.report import CandidateReport, Overview, RunReport

EVERY = 2.0
"""Seconds between two looks."""
TOLD = 40
"""Events that are shown."""
FAMILY = 10
"""Versions in the graph."""
GOES_ON = "It goes on where it was with Resume, and pays for nothing twice."
BUDGETS = {
    "usd": "Dollars",
    "tokens": "Tokens",
    "calls": "Calls",
    "task_calls": "Task calls",
    "judge_calls": "Judge calls",
    "meta_calls": "Meta calls",
    "minutes": "Minutes",
}


def page() -> None:
    st.title("Run")
    run = current_run() or "latest"
    live = reads.overview(run).live
    st.fragment(_everything, run_every=EVERY if live else None)(run, live)


@safe.shielded
def _everything(run: str, live: bool) -> None:
    seen = reads.overview(run)
    if live and not seen.live:
        st.rerun()
    found = reads.run(run)
    _head(seen)
    controls.bar(seen)
    _figures(found, seen)
    _outcome(found, seen)
    if not found.candidates:
        safe.note("The first prompt is being opened …")
        return
    _decisions(found, seen)
    _family(found)
    _usage(found, seen)
    _earnings(found)
    _log(found.id, seen)


def _head(seen: Overview) -> None:
    summary = seen.summary
    tones = {"running": "good", "failed": "bad", "finished": "good"}
    labels = [(words.STATES.get(seen.standing, seen.standing), tones.get(seen.standing, "warn"))]
    if summary.decision:
        labels.append((words.DECISIONS[summary.decision], "good" if summary.decision == "improved" else "warn"))
    labels += [(f"begun {words.ago(summary.created_at)}", "calm"), (summary.id, "calm")]
    safe.chips(labels)


def _figures(found: RunReport, seen: Overview) -> None:
    summary = seen.summary
    before, after, used, speed = st.columns(4)
    tested = summary.best_score is not None and summary.baseline_score is not None
    where = words.rows_of(summary.split) if tested else "validation rows so far"
    first = seen.points[0].validation if seen.points else None
    last = seen.points[-1].incumbent if seen.points else None
    old = summary.baseline_score if tested else first.mean if first else None
    new = summary.best_score if tested else last.mean if last else None
    gain = words.signed(summary.delta) if summary.delta is not None else None
    before.metric(
        "Before", words.score(old), border=True, height="stretch", help=f"Your own prompt: mean score, {where}"
    )
    after.metric(
        "After",
        words.score(new),
        gain,
        delta_color="blue" if gain else "off",
        border=True,
        height="stretch",
        help=f"Best prompt: mean score, {where}",
    )
    line = next((line for line in seen.budget if line.name == "task_calls"), None) or next(iter(seen.budget), None)
    calls = sum(usage.calls + usage.cached_calls for usage in found.usage.values())
    spent = f"{words.count(line.spent)} of {words.count(line.cap)}" if line else words.count(calls)
    label = BUDGETS.get(line.name, line.name) if line else "Calls"
    used.metric(label, spent, border=True, height="stretch", help="Answers from the journal are counted too")
    rows = sum(seen.rows.values())
    rate = seen.rows_per_second or (rows / summary.active_seconds if summary.active_seconds else None)
    speed.metric(
        "Rows/s",
        words.NONE if rate is None else f"{rate:.1f}",
        f"{seen.in_flight} calls under way" if seen.live and seen.in_flight else None,
        delta_color="off",
        delta_arrow="off",
        border=True,
        height="stretch",
        help=f"{rows:,} rows in {words.seconds(summary.active_seconds)} of work",
    )
    for one in seen.budget if seen.live else ():
        if one.share is not None:
            name = BUDGETS.get(one.name, one.name)
            st.progress(one.share, f"{name}: {words.count(one.spent)} of {words.count(one.cap)}")


def _outcome(found: RunReport, seen: Overview) -> None:
    """One sentence that a newcomer understands."""
    summary = seen.summary
    if seen.live:
        safe.busy(f"{seen.activity[:1].upper()}{seen.activity[1:]} …")
        if seen.latest_rule:
            safe.quote(seen.latest_rule, "newest rule of the best prompt so far")
    elif seen.standing == "killed":
        safe.warn(f"No process works on this run any more. {GOES_ON}")
    elif summary.state == "failed":
        safe.problem(f"The run failed: {summary.stop_reason}")
    elif summary.state == "interrupted":
        safe.warn(f"The run was stopped. {GOES_ON}")
    elif summary.is_evaluation:
        safe.note("This run only measured a prompt.")
    elif summary.decision == "improved":
        safe.good(f"Proven better on rows that it never saw: {_proof(found)}.")
    elif summary.decision:
        safe.warn(
            f"Not proven: {_proof(found)}. {'The judge' if summary.aligns else 'Your own prompt'} is kept. "
            "More test rows or a larger budget make a proof easier."
        )
    elif summary.state == "budget":
        safe.warn("The budget is spent. Raise it and the run goes on where it was.")
    if summary.aligns:
        safe.note(f"What is learned here is the prompt of the judge {summary.aligns}, from people's labels.")
    for text in found.alarms:
        safe.warn(f"{text[:1].upper()}{text[1:]}")
    for text in seen.warnings:
        safe.note(f"Warning: {text}")


def _proof(found: RunReport) -> str:
    delta = (found.result if isinstance(found.result, dict) else {}).get("delta") or {}
    low, high = (delta.get("ci95") or [None, None])[:2]
    lead = f"{led}; score " if (led := report.lead_of(found.result)) else ""
    score = f"{words.signed(delta.get('score'))} (95 % interval {words.span(low, high)})"
    return f"{lead}{score} on {delta.get('n')} test rows"


def _decisions(found: RunReport, seen: Overview) -> None:
    spec = draw.scores(seen.points)
    if spec is not None:
        st.subheader("Score, decision by decision")
        charts.show(spec, f"scores-{found.id}", "scores")
        safe.note("Line: the prompt in charge on validation rows. Bars: 95 % intervals; dotted and small: train rows.")
    spec = draw.decisions(found)
    st.subheader("Decisions")
    if spec is None:
        safe.note("None yet: the first candidates have to be tried.")
        return
    charts.show(spec, f"decisions-{found.id}", "decisions")
    import pandas as pd

    numbers = {one.digest: one.number for one in found.candidates}
    frame = pd.DataFrame(
        {
            "Version": numbers[one.digest],
            "Proposed by": one.proposer,
            "Stage": decision.stage,
            "Outcome": words.OUTCOMES[decision.outcome],
            "Difference": decision.difference,
            "95 % interval": words.span(decision.ci95.low, decision.ci95.high) if decision.ci95 else "",
            "Pairs": decision.pairs,
            "Why": decision.reason,
        }
        for one in found.candidates
        for decision in one.decisions
    )
    with st.expander(f"All {words.plural(len(frame), 'decision')}"):
        st.dataframe(
            frame,
            hide_index=True,
            key="decisions_table",
            column_config={
                "Difference": st.column_config.NumberColumn(format="%+.3f"),
                "Why": st.column_config.TextColumn(width="large"),
            },
        )
        downloads.table(frame, f"decisions-{found.id}", "decisions")


def _family(found: RunReport) -> None:
    """Who came from whom: the line of the best, and of the others what came nearest, so that it stays legible."""
    if len(found.candidates) < 2:
        return
    st.subheader("Where each version came from")
    kin = {one.digest for one in report.lineage(found, "best")} if found.best else set()
    others = sorted((one for one in found.candidates if one.digest not in kin), key=_nearness, reverse=True)
    wanted = kin | {one.digest for one in others[: max(0, FAMILY - len(kin))]}
    shown = [one for one in found.candidates if one.digest in wanted]
    spec = draw.family(found, shown)
    if spec is not None:
        charts.show(spec, f"family-{found.id}", "family")
    left = len(found.candidates) - len(shown)
    rest = f" {left} that did less well are left out." if left else ""
    safe.note(f"From left to right: parents, and what was made of them.{rest}")


def _nearness(one: CandidateReport) -> tuple[bool, float]:
    gains = [decision.difference for decision in one.decisions if decision.difference is not None]
    return one.outcome == "accepted", max(gains, default=-9.0)


def _usage(found: RunReport, seen: Overview) -> None:
    import pandas as pd

    st.subheader("What it used")
    roles = {"task": "answers (task)", "judge": "judges", "meta": "better prompts (meta)"}
    rows: list[dict[str, Any]] = [
        {
            "For": roles[role],
            "Calls": usage.calls,
            "From the journal": usage.cached_calls,
            "Tokens in": usage.input_tokens,
            "Tokens out": usage.output_tokens,
            "Cost": words.money(usage.cost_usd),
        }
        for role, usage in found.usage.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="usage")
    if seen.resumed and not seen.live:
        whole = f"{words.plural(seen.whole.calls, 'call')}, {words.money(seen.whole.cost_usd)}"
        safe.note(f"The run in all its stretches: {whole}, replies from the journal counted like paid ones.")


def _earnings(found: RunReport) -> None:
    """What each proposer earned, by which its share of the drafts is set."""
    earned = report.earnings(found.events)
    if not earned:
        return
    import pandas as pd

    st.subheader("What each proposer earned")
    rate = f"Expected gain per {earned[0].per}"
    rows: list[dict[str, Any]] = [
        {
            "Proposer": one.proposer,
            "Drafts asked for": one.asked,
            "Made": one.drafts,
            "Run": one.candidates,
            "Gain": one.gain,
            "Calls": one.calls,
            "Cost": words.money(one.usd),
            rate: one.rate,
        }
        for one in earned
    ]
    columns = {name: st.column_config.NumberColumn(format="%.3f") for name in ("Gain", rate)}
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="earnings", column_config=columns)
    safe.note("The higher the last figure, the more drafts it is asked for; a tenth of all is spread evenly.")


def _log(run: str, seen: Overview) -> None:
    told = [(event.at, happenings.told(event.kind, event.body)) for event in reads.told(run, seen.last_event, TOLD)]
    with st.expander("What happened, the newest first"):
        safe.facts((words.clock(at), text) for at, text in told if text)
