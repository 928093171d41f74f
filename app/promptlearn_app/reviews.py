"""Reviews: what reviewers said on pull requests, whom to trust and why, and what each comment becomes.

Nothing that somebody wrote reaches a prompt before a person approved it here or with `promptlearn feedback`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from promptlearn.dashboard import commands
from promptlearn_app import downloads, reads, safe, words

if TYPE_CHECKING:
    from promptlearn.report import Outcome, Remark
    from promptlearn.store.feedback_rows import FeedbackState

PER_PAGE = 50
_REFUSED = "review_refused"
STATES: dict[str, str] = {"pending": "○ open", "approved": "✓ approved", "dismissed": "✕ dismissed"}


def page() -> None:
    st.title("Reviews")
    counts = reads.remarks(None, 0, 0).counts
    if not sum(counts.values()):
        safe.empty(
            "No review comment yet",
            "promptlearn reads what reviewers said on pull requests, or what you add by hand. A comment that you "
            "approve becomes a rule that candidates are made of, and a guard that later prompts may not lose.",
            'promptlearn github pull OWNER/REPO\npromptlearn feedback add "Say the order number back to the customer."',
        )
        return
    state = st.segmented_control(
        "State",
        [name for name in STATES if counts[cast("FeedbackState", name)]],
        format_func=lambda name: f"{STATES[name]}: {counts[cast('FeedbackState', name)]}",
        key="reviews_state",
    )
    chosen = _table(cast("FeedbackState | None", state))
    if chosen is not None:
        _detail(chosen)


def _table(state: FeedbackState | None) -> Remark | None:
    import pandas as pd

    page = f"reviews_page_{state}"  # another list begins on its first page
    number = int(st.session_state.get(page, 1))
    found = reads.remarks(state, (number - 1) * PER_PAGE, PER_PAGE)
    if found.total > PER_PAGE:
        st.pagination(-(-found.total // PER_PAGE), key=page)
    frame = pd.DataFrame([_row(one) for one in found.items])
    chosen = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"reviews_table_{state}_{number}",
        column_config={"What was said": st.column_config.TextColumn(width="large")},
    )
    safe.note("Choose a row to read it and to decide. Nothing reaches a prompt before somebody approved it.")
    downloads.table(frame, f"reviews-{number}", "reviews")
    rows = chosen.selection.rows
    if rows and rows[0] < len(found.items):
        return found.items[rows[0]]
    named = st.query_params.get("comment")
    return next((one for one in found.items if named and one.ref.startswith(named)), None)


def _row(one: Remark) -> dict[str, str]:
    return {
        "State": STATES[one.state],
        "What it is": one.kind.replace("_", " "),
        "What was said": words.cut(one.text, 160),
        "Author": one.author,
        "Trusted": _trust(one),
        "Where": f"{one.repo}#{one.pull}" if one.pull else one.repo or "added by hand",
        "When": words.ago(one.created_at),
    }


def _trust(one: Remark) -> str:
    return f"yes ({one.association.lower()})" if one.trusted else f"no: {one.distrust}"


def _detail(one: Remark) -> None:
    if st.query_params.get("comment") != one.ref:
        st.query_params["comment"] = one.ref
    with st.container(border=True, key="review"):
        st.subheader("This comment")
        safe.quote(one.text, " · ".join(filter(None, [one.author, one.created_at[:16].replace("T", " "), one.path])))
        decided = f"{one.state} by {one.decided_by}, {words.ago(one.decided_at)}" if one.decided_by else "nobody yet"
        safe.facts(
            [
                ("What it is", f"{one.kind.replace('_', ' ')}: {one.reason}"),
                ("Trusted", _trust(one)),
                ("Decided", f"{decided}. {one.note}" if one.note else decided),
                *[("Suspicious", text) for text in one.suspicions],
                *[("Became", f"a rule of run {became.run}, {_worth(became)}: {became.rule}") for became in one.became],
                *([] if one.became else [("Became", "no rule of a learned prompt yet")]),
                ("Address", one.url or "none"),
            ]
        )
        _decide(one)


def _worth(became: Outcome) -> str:
    return f"worth {words.signed(became.effect.score)}" if became.effect else "worth not measured"


def _decide(one: Remark) -> None:
    """A click is about what was shown when it came: a comment that was edited since is refused."""
    if refused := st.session_state.pop(_REFUSED, None):
        safe.problem(refused)
    st.text_area("The rule, in the words that a prompt will hold", value=one.rule, key=_rule_key(one), height=80)
    approve, dismiss, reopen = st.columns(3)
    wide: dict[str, Any] = {"width": "stretch", "on_click": _do}
    yes, no = ":material/check:", ":material/close:"
    approve.button("Approve", key="review_approve", type="primary", icon=yes, args=("approve", one), **wide)
    dismiss.button("Dismiss", key="review_dismiss", icon=no, args=("dismiss", one), **wide)
    if one.state != "pending":
        reopen.button("Open again", key="review_reopen", args=("reopen", one), **wide)


def _do(what: str, one: Remark) -> None:
    """`one` is what the page showed when somebody clicked."""
    own = str(st.session_state.get(_rule_key(one), one.rule))
    edited = what == "approve" and " ".join(own.split()) != " ".join(one.rule.split())
    wording = [f"--rule={own}"] if edited else []
    sure = [f"--seen={one.digest}", *wording, "--yes"] if what != "reopen" else []
    answer = commands.ask(["feedback", what, *sure, "--json", "--", one.ref], reads.where(), reads.home())
    if answer.ok:
        st.toast("Saved.")
    else:
        st.session_state[_REFUSED] = answer.message


def _rule_key(one: Remark) -> str:
    """Another where the comment reads otherwise, so that no old words stay in the field."""
    return f"rule_{one.ref}_{one.digest}"
