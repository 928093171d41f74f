"""Run: what it came to or is at, each decision, the family of its candidates, and what it used.

While the run works, the page asks every two seconds for what is new, by the number of the last event; when the run
ends it stops asking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from promptlearn import report
from promptlearn_app import charts, controls, downloads, happenings, reads, safe, words
from promptlearn_app.choice import chosen_report, version_name

if TYPE_CHECKING:
    from promptlearn.report import CandidateReport, RunReport

EVERY = 2.0
"""Seconds between two looks."""
TOLD = 40
"""Events that are shown."""
FAMILY = 10
"""Versions in the graph."""


def page() -> None:
    found = chosen_report()
    st.title("Run")
    live = found.summary.state == "running"
    st.fragment(_everything, run_every=EVERY if live else None)(found.id, live)


def _everything(run: str, live: bool) -> None:
    found = reads.run(run)
    if live and found.summary.state != "running":
        st.rerun()
    _head(found)
    controls.bar(found)
    _figures(found)
    _outcome(found)
    if not found.candidates:
        safe.note("The first prompt is being opened …")
        return
    _decisions(found)
    _family(found)
    _usage(found)
    _log(found)


def _head(found: RunReport) -> None:
    summary = found.summary
    tone = {"running": "good", "failed": "bad", "finished": "good"}.get(summary.state, "warn")
    labels = [(words.STATES.get(summary.state, summary.state), tone)]
    if summary.decision:
        labels.append((words.DECISIONS[summary.decision], "good" if summary.decision == "improved" else "warn"))
    labels += [(f"begun {words.ago(summary.created_at)}", "calm"), (found.id, "calm")]
    safe.chips(labels)


def _figures(found: RunReport) -> None:
    summary = found.summary
    before, after, used, speed = st.columns(4)
    before.metric("Your prompt", words.score(_baseline_score(found)), border=True, height="stretch", help=_where(found))
    gain = words.signed(summary.delta) if summary.delta is not None else None
    after.metric(
        "Best prompt",
        words.score(_best_score(found)),
        gain,
        delta_color="blue" if gain else "off",
        border=True,
        height="stretch",
        help=_where(found),
    )
    cap, calls = _cap(found), sum(usage.calls + usage.cached_calls for usage in found.usage.values())
    task = found.usage["task"]
    spent = f"{words.count(task.calls + task.cached_calls)} of {words.count(cap)}" if cap else words.count(calls)
    used.metric(
        "Task calls" if cap else "Calls",
        spent,
        border=True,
        height="stretch",
        help="Answers from the journal are counted too",
    )
    rows = sum(row.rollouts for one in found.candidates for row in one.failures)
    per_second = rows / summary.active_seconds if summary.active_seconds else None
    shown = f"{per_second:.1f} rows/s" if per_second is not None else words.NONE
    speed.metric(
        "Speed",
        shown,
        border=True,
        height="stretch",
        help=f"{rows:,} rows in {words.seconds(summary.active_seconds)} of work",
    )
    if cap and summary.state == "running":
        st.progress(min(1.0, (task.calls + task.cached_calls) / cap))


def _where(found: RunReport) -> str:
    return (
        "Mean score on the test split"
        if found.summary.best_score is not None
        else "Mean score on validation rows so far"
    )


def _baseline_score(found: RunReport) -> float | None:
    return (
        found.summary.baseline_score if found.summary.baseline_score is not None else _validation(found, found.baseline)
    )


def _best_score(found: RunReport) -> float | None:
    return found.summary.best_score if found.summary.best_score is not None else _validation(found, found.best)


def _validation(found: RunReport, digest: str | None) -> float | None:
    one = next((one for one in found.candidates if one.digest == digest), None)
    return charts.mean_on(one, "validation") if one else None


def _cap(found: RunReport) -> int | None:
    budget = found.config.get("budget") if isinstance(found.config, dict) else None
    cap = budget.get("task_calls") if isinstance(budget, dict) else None
    return cap if isinstance(cap, int) and cap > 0 else None


def _outcome(found: RunReport) -> None:
    """One sentence that a newcomer understands."""
    summary = found.summary
    result = found.result if isinstance(found.result, dict) else {}
    delta = result.get("delta") or {}
    low, high = (delta.get("ci95") or [None, None])[:2]
    proof = f"{words.signed(summary.delta)} (95 % interval {words.span(low, high)}) on {delta.get('n')} test rows"
    if summary.state == "running":
        last = found.events[-1].kind if found.events else "started"
        safe.busy(f"{happenings.doing(last)} …")
    elif summary.state == "failed":
        safe.problem(f"The run failed: {summary.stop_reason}")
    elif summary.state == "interrupted":
        safe.warn("The run was stopped. It goes on where it was with Resume, and pays for nothing twice.")
    elif summary.is_evaluation:
        safe.note("This run only measured a prompt.")
    elif summary.decision == "improved":
        safe.good(f"Proven better on rows that it never saw: {proof}.")
    elif summary.decision:
        safe.warn(
            f"Not proven: {proof}. Your own prompt is kept. More test rows or a larger budget make a proof easier."
        )
    elif summary.state == "budget":
        safe.warn("The budget is spent. Raise it and the run goes on where it was.")


def _decisions(found: RunReport) -> None:
    spec = charts.decisions(found)
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
    with st.container(key="family"):
        st.graphviz_chart(_dot(found, shown), width="content")
    left = len(found.candidates) - len(shown)
    safe.note("Blue: was in charge. Dashed: rejected." + (f" {left} that did less well are left out." if left else ""))


def _nearness(one: CandidateReport) -> tuple[bool, float]:
    gains = [decision.difference for decision in one.decisions if decision.difference is not None]
    return one.outcome == "accepted", max(gains, default=-9.0)


_LOOKS = (
    'rankdir="LR"; bgcolor="transparent"; nodesep=0.15; ranksep=0.5;',
    'node [shape=box style=rounded fontname="sans-serif" fontsize=11 height=0.3 color="#8A8F98" fontcolor="#8A8F98"];',
    'edge [color="#8A8F98" arrowsize=0.7];',
)


def _dot(found: RunReport, shown: list[CandidateReport]) -> str:
    """Graphviz; the only text in it is numbers, names of proposers and outcomes."""
    numbers = {one.digest: one.number for one in shown}
    lines = list(_LOOKS)
    for one in shown:
        name = "".join(letter for letter in version_name(found, one) if letter.isalnum() or letter in " ·()_-")
        lines.append(f'v{one.number} [label="{name}" {_look(found, one)}];')
        lines += [f"v{numbers[parent]} -> v{one.number};" for parent in one.parents if parent in numbers]
    return "digraph {" + "\n".join(lines) + "}"


def _look(found: RunReport, one: CandidateReport) -> str:
    if one.number == 0 or one.outcome == "accepted" or one.digest == found.best:
        return 'penwidth=2.2 color="#0072B2" fontcolor="#3391CC"'
    return 'style="rounded,dashed"' if one.outcome == "rejected" else ""


def _usage(found: RunReport) -> None:
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


def _log(found: RunReport) -> None:
    told = [(event.at, happenings.told(event.kind, event.body)) for event in reversed(found.events)]
    lines = [(at, text) for at, text in told if text][:TOLD]
    with st.expander("What happened, the newest first"):
        safe.facts((words.clock(at), text) for at, text in lines)
