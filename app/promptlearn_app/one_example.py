"""One example: what went in, what each version answered, what judges said, and a place for a label of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from promptlearn.records import Rollout, Verdict, as_text
from promptlearn_app import reads, safe, words
from promptlearn_app.labelling import label_form

if TYPE_CHECKING:
    from promptlearn.report import RunReport

CLOSED = "examples_closed"
"""How often an example was closed: a table in which one was chosen begins anew with each."""


def show_example(found: RunReport, example: str, version: str) -> None:
    kept = reads.kept_examples(found, [example]).get(example)
    rollout = reads.rollout(found, version, example)
    with st.container(border=True, key="example"):
        head, close = st.columns([6, 1])
        head.subheader("One example")
        if close.button("Close", key="example_close", width="stretch"):
            del st.query_params["example"]
            st.session_state[CLOSED] = st.session_state.get(CLOSED, 0) + 1
            st.rerun()
        if kept is None and rollout is None:
            safe.warn(f"This run has no example {example}.")
            return
        if kept is not None:
            safe.facts([*kept.example.inputs.items(), ("Expected", as_text(kept.example.expected))])
            safe.note(f"{kept.split} row {example}")
        if rollout is None:
            safe.note("The chosen version was not run on this row.")
        else:
            _rollout(found, rollout, version)
        _history(found, example)


def _rollout(found: RunReport, rollout: Rollout, version: str) -> None:
    number = next(one.number for one in found.candidates if one.digest == version)
    st.markdown("**Answer**")
    if rollout.error:
        safe.problem(f"No answer: {rollout.error.kind}: {rollout.error.message}")
    for turn in rollout.turns:
        safe.quote(turn.content, turn.role)
        for call in turn.tool_calls:
            st.code(
                f"{call.name}({as_text(dict(call.arguments))})\n→ {call.result or ''}", language=None, wrap_lines=True
            )
    if rollout.output:
        safe.quote(rollout.output, f"version {number}")
    tokens = rollout.usage.input_tokens + rollout.usage.output_tokens
    safe.note(f"{words.seconds(rollout.seconds)} · {tokens:,} tokens · {words.money(rollout.usage.cost_usd)}")
    _evidence(rollout)
    st.markdown("**What was said about it**")
    verdicts = reads.verdicts(found, [rollout.id]).get(rollout.id, [])
    _verdicts(verdicts)
    label_form(found, rollout, verdicts)


def _evidence(rollout: Rollout) -> None:
    """What a command left behind."""
    if not rollout.evidence:
        return
    with st.expander("What the program left behind"):
        for name, value in rollout.evidence.items():
            st.text(name)
            st.code(as_text(value), language="diff" if name == "diff" else None, wrap_lines=True)


def _verdicts(verdicts: Sequence[Verdict]) -> None:
    if not verdicts:
        safe.note("Nothing: no judge was asked.")
    for verdict in verdicts:
        if verdict.error:
            said = f"No verdict: {verdict.error.kind}: {verdict.error.message}"
        else:
            said = verdict.explanation or "No words."
        safe.quote(said, f"{judge_name(verdict)} · {_mark(verdict)}")
        if verdict.suggestion:
            safe.quote(verdict.suggestion, "suggests for the prompt")


def judge_name(verdict: Verdict) -> str:
    """Who speaks: a judge, or a person and to whose question."""
    if verdict.kind != "human":
        return verdict.name
    return f"{verdict.source} (a person), {f'on {verdict.about}' if verdict.about else 'on the whole answer'}"


def _mark(verdict: Verdict) -> str:
    score = "not judged" if verdict.score is None else f"score {verdict.score:.2f}"
    return f"{score} · {verdict.label}" if verdict.label else score


def _history(found: RunReport, example: str) -> None:
    """The same row with every version that was run on it."""
    import pandas as pd

    numbers = {one.digest: one.number for one in found.candidates}
    cells = reads.cells(found, list(numbers), [example])
    if len(cells) < 2:
        return
    st.markdown("**With each version**")
    frame = pd.DataFrame(
        {
            "Version": numbers[cell.prompt],
            "Score": cell.score,
            "Outcome": "failed" if cell.failed else "not judged" if cell.score is None else "judged",
        }
        for cell in sorted(cells, key=lambda cell: numbers[cell.prompt])
    )
    st.dataframe(frame, hide_index=True, key="example_history", width="content")
