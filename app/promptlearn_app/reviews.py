"""Reviews: what reviewers said on pull requests, whom to trust and why, and what each comment becomes.

Nothing that somebody wrote reaches a prompt before a person approved it here or with `promptlearn feedback`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from promptlearn.dashboard import commands
from promptlearn_app import downloads, reads, safe, words

_LIST = "feedback"
_PER_PAGE = 50
STATES = {"pending": "○ open", "approved": "✓ approved", "dismissed": "✕ dismissed"}

Entry = dict[str, Any]


def page() -> None:
    st.title("Reviews")
    entries = _entries()
    if entries is None:
        return
    if not entries:
        safe.empty(
            "No review comment yet",
            "promptlearn reads what reviewers said on pull requests, or what you add by hand. A comment that you "
            "approve becomes a rule that candidates are made of, and a guard that later prompts may not lose.",
            'promptlearn github pull OWNER/REPO\npromptlearn feedback add "Say the order number back to the customer."',
        )
        return
    _figures(entries)
    shown = _filtered(entries)
    chosen = _table(shown)
    if chosen is not None:
        _detail(chosen)


def _entries() -> list[Entry] | None:
    """As the command line lists them; asked again after a decision."""
    if _LIST not in st.session_state or st.button("Read again", icon=":material/refresh:", key="reviews_again"):
        answer = commands.ask(["feedback", "list", "--json"], reads.where(), reads.home())
        if not answer.ok:
            safe.problem(answer.message)
            return None
        st.session_state[_LIST] = answer.document
    found = st.session_state[_LIST]
    return found if isinstance(found, list) else list(found.get("comments", ()))


def _figures(entries: Sequence[Entry]) -> None:
    for column, (label, amount) in zip(
        st.columns(4),
        (
            ("Comments", len(entries)),
            ("Open", sum(one["state"] == "pending" for one in entries)),
            ("Approved", sum(one["state"] == "approved" for one in entries)),
            ("Not trusted", sum(not one["trusted"] for one in entries)),
        ),
        strict=True,
    ):
        column.metric(label, amount, border=True)


def _filtered(entries: Sequence[Entry]) -> list[Entry]:
    left, middle, right = st.columns([1.6, 1.6, 2])
    state = left.selectbox("State", ["any", *STATES], format_func=lambda one: STATES.get(one, one), key="reviews_state")
    kinds = sorted({one["class"] for one in entries})
    kind = middle.selectbox("What it is", ["any", *kinds], key="reviews_kind")
    search = right.text_input("Search", key="reviews_search", placeholder="words, author, repository")
    return [
        one
        for one in entries
        if state in ("any", one["state"])
        and kind in ("any", one["class"])
        and search.casefold() in f"{one['text']} {one['rule']} {one['author']} {one['repo']}".casefold()
    ]


def _table(entries: Sequence[Entry]) -> Entry | None:
    import pandas as pd

    if not entries:
        safe.note("No comment fits.")
        return None
    pages = -(-len(entries) // _PER_PAGE)
    number = st.pagination(pages, key="reviews_page") if pages > 1 else 1
    shown = list(entries[(number - 1) * _PER_PAGE : number * _PER_PAGE])
    frame = pd.DataFrame(
        {
            "State": STATES[one["state"]],
            "What it is": one["class"].replace("_", " "),
            "What was said": words.cut(one["text"], 160),
            "Author": one["author"],
            "Trust": _trust(one),
            "Where": f"{one['repo']}#{one['pull_request']}" if one["pull_request"] else "added by hand",
        }
        for one in shown
    )
    chosen = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"reviews_table_{number}",
        column_config={"What was said": st.column_config.TextColumn(width="large")},
    )
    downloads.table(frame, "reviews", "reviews")
    named = st.query_params.get("comment")
    rows = chosen.selection.rows
    if rows:
        return shown[rows[0]]
    return next((one for one in entries if named and one["ref"].startswith(named)), None)


def _trust(one: Entry) -> str:
    return one["permission"] or one["association"].lower() if one["trusted"] else f"no: {one['not_used']}"


def _detail(one: Entry) -> None:
    st.query_params["comment"] = one["ref"]
    with st.container(border=True, key="review"):
        st.subheader("This comment")
        safe.quote(one["text"], f"{one['author']} · {one['created_at'] or ''} · {one['path'] or ''}")
        safe.facts(
            [
                ("What it is", f"{one['class'].replace('_', ' ')}: {one['reason']}"),
                ("Trusted", _trust(one)),
                ("What it became", _became(one)),
                *[("Taken out of it", f"{removal['kind']}: {removal['detail']}") for removal in one["removed"]],
                *[("Suspicious", text) for text in one["suspicions"]],
                *[("Can be no rule because", text) for text in one["objections"]],
                *([("Contradicts", ", ".join(one["contradicts"]))] if one["contradicts"] else []),
                ("Address", one["url"] or "none"),
            ]
        )
        _decide(one)


def _became(one: Entry) -> str:
    if one["state"] == "pending":
        return "nothing yet: nobody has decided about it"
    by = one["decision"]["by"] if one["decision"] else "somebody"
    return f"{one['state']} by {by}" + (f"; the rule “{one['rule']}”" if one["state"] == "approved" else "")


def _decide(one: Entry) -> None:
    ref, rule = one["ref"], one["rule"] or ""
    words_of_own = st.text_area(
        "The rule, in the words that a prompt will hold", value=rule, key=f"rule_{ref}", height=80
    )
    approve, dismiss, reopen = st.columns(3)
    edited = " ".join(words_of_own.split()) != " ".join(rule.split())
    if approve.button("Approve", key="review_approve", type="primary", width="stretch", icon=":material/check:"):
        own = [f"--rule={words_of_own}"] if edited else []
        _do(["feedback", "approve", *own, "--yes", "--json", "--", ref])
    if dismiss.button("Dismiss", key="review_dismiss", width="stretch", icon=":material/close:"):
        _do(["feedback", "dismiss", "--yes", "--json", "--", ref])
    if one["state"] != "pending" and reopen.button("Open again", key="review_reopen", width="stretch"):
        _do(["feedback", "reopen", "--json", "--", ref])


def _do(arguments: list[str]) -> None:
    answer = commands.ask(arguments, reads.where(), reads.home())
    if answer.ok:
        del st.session_state[_LIST]
        st.toast("Saved.")
        st.rerun()
    safe.problem(answer.message)
