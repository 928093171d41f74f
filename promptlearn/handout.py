"""A handout: one run as one file for people who have no promptlearn, readable in a mail and in a pull request.

HTML without scripts and without anything from elsewhere, Markdown, or JSON. Every text that comes from a model, a table
or a reviewer is escaped: it is shown, and never followed, fetched or run (invariant 9).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Json, Usage
from promptlearn.redaction import redact
from promptlearn.report import Overview, Part, Standing, Tradeoffs, diff, matrix, overview, parts, tradeoffs
from promptlearn.report.run import load_run
from promptlearn.report.tradeoffs import as_document as tradeoffs_document
from promptlearn.report.tradeoffs import as_figure, headings, lead_of, left_out, test_lines

if TYPE_CHECKING:
    from promptlearn.store import Store

SHOWN = 20
"""Regressions that are listed; more are counted."""
WORDS = {
    "improved": "The learned prompt is better: proven on the test rows.",
    "not_proven": "No improvement is proven, so the baseline stays.",
    "regressed": "The learned prompt is worse on the test rows, so the baseline stays.",
}
_STYLE = """body{font:15px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em;color:#1f1f1f;background:#fff}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3em .6em;border-bottom:1px solid #ddd;
vertical-align:top;overflow-wrap:anywhere}pre{background:#f5f5f5;padding:1em;white-space:pre-wrap;overflow-wrap:anywhere}
svg{max-width:100%;height:auto}"""
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>~&@-])")


@dataclass(frozen=True, slots=True)
class Handout:
    """What there is to say about a run."""

    overview: Overview
    result: Json
    alarms: tuple[str, ...]
    """Where a person should look before this prompt is used."""
    parts: tuple[Part, ...]
    diff: str
    worse: tuple[str, ...]
    """Test examples that got worse, in one line each; `worse_count` counts them all."""
    worse_count: int
    tradeoffs: Tradeoffs
    """Prompts by several objectives."""

    @property
    def headline(self) -> str:
        summary = self.overview.summary
        if summary.is_evaluation:
            return "This run only measured a prompt."
        return WORDS.get(summary.decision or "", f"The run is {self.overview.standing}; nothing is decided yet.")

    @property
    def scores(self) -> str:
        summary, delta = self.overview.summary, (self.result or {}).get("delta") or {}
        rows = f"{summary.split} rows" if summary.split else "all rows"
        if summary.best_score is None or (summary.baseline_score is None and not summary.is_evaluation):
            return f"No score on {rows} yet."
        if summary.baseline_score is None:
            return f"Mean score on {rows}: {summary.best_score:.3f}."
        lead = f"Objective to prove: {led}. " if (led := lead_of(self.result)) else ""
        text = f"{lead}Mean score on {rows}: {summary.baseline_score:.3f} → {summary.best_score:.3f}"
        if delta.get("n"):
            low, high = delta["ci95"]
            text += f": difference {delta['score']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
            text += f"p = {delta['p_value']:.2g} ({delta['n']} pairs)"
        return text + "."

    @property
    def cost(self) -> str:
        last, whole = sum(self.overview.usage.values(), Usage()), self.overview.whole
        if not self.overview.resumed:
            found = f", and {last.cached_calls} replies from the journal" if last.cached_calls else ""
            return f"{last.calls} paid calls, {_money(last.cost_usd)}{found}."
        text = f"{whole.calls} calls, {_money(whole.cost_usd)} in all stretches of the run"
        if not last.cached_calls:
            return f"{text}."
        paid = f"{last.calls} paid calls, {_money(last.cost_usd)}"
        return f"{text}, a reply from the journal counted like a paid one; in its last stretch {paid}."

    @property
    def again(self) -> str:
        """How to do it again."""
        return f"promptlearn run --set search.seed={self.overview.summary.seed}"


def handout(store: Store, which: str = "latest") -> Handout:
    """Read a run. Raises `UsageError` naming runs, and for one without a prompt: too early, or it trains weights."""
    found = load_run(store, which)
    if found.summary.is_tuning:
        raise UsageError(
            f"run {found.id} trains weights and has no prompt of its own: `promptlearn tune status {found.id}` shows"
            " it, and `promptlearn compare --report FOLDER` sets its arm beside the others"
        )
    if not found.candidates:
        raise UsageError(f"run {found.id} has no prompt yet, so there is nothing to report")
    page = matrix(store, found.id, split="test", change="regressed", limit=SHOWN)
    return Handout(
        overview(store, found.id),
        found.result if isinstance(found.result, dict) else {},
        found.alarms,
        parts(store, found.id),
        diff(store, found.id),
        tuple(f"{row.example[:12]}  {row.preview}" for row in page.rows),
        page.counts["regressed"],
        tradeoffs(store, found.id),
    )


def as_html(handout: Handout) -> str:
    """One page: no scripts, no outside resources; charts as inline SVG."""
    from promptlearn import charts

    summary, chart = handout.overview.summary, charts.scores(handout.overview.points)
    body = [
        f"<h1>{escape(handout.headline)}</h1>",
        f"<p>{escape(handout.scores)}<br>{escape(handout.cost)}</p>",
        *(f"<p><strong>{_html(alarm)}</strong></p>" for alarm in handout.alarms),
        *(f"<p>Warning: {_html(warning)}</p>" for warning in handout.overview.warnings),
        charts.as_svg(chart) if chart else "",
        "<h2>What it learned</h2>",
        _html_parts(handout.parts),
        f"<h2>Got worse on the test rows: {handout.worse_count}</h2>",
        "<ul>" + "".join(f"<li>{_html(line)}</li>" for line in handout.worse) + "</ul>" if handout.worse else "",
        *_html_tradeoffs(handout.tradeoffs),
        "<h2>Changes to the prompt</h2>",
        f"<pre>{_html(handout.diff) or 'none'}</pre>",
        "<h2>Do it again</h2>",
        f"<pre>{escape(handout.again)}</pre>",
        f"<p>Run {escape(summary.id)}, {escape(summary.created_at)}; stopped: {_html(summary.stop_reason or '–')}.</p>",
    ]
    head = (
        '<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><title>Run {escape(summary.id)}</title>'
        f"<style>{_STYLE}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def as_markdown(handout: Handout) -> str:
    """For a pull request: headings, a table, and the diff in a fence that no line of it can close."""
    summary = handout.overview.summary
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", handout.diff)), default=0))
    rows = [f"| {one.kind} | {_md(one.text)} | {_md(_origins(one))} | {_worth(one)} |" for one in handout.parts]
    lines = [
        f"## {handout.headline}",
        "",
        handout.scores,
        handout.cost,
        "",
        *(line for alarm in handout.alarms for line in (f"**{_md(alarm)}**", "")),
        *(line for warning in handout.overview.warnings for line in (f"Warning: {_md(warning)}", "")),
        "### What it learned",
        "",
        *(["| kind | text | from | worth |", "|---|---|---|---|", *rows] if rows else ["No rules, no demonstrations."]),
        "",
        f"### Got worse on the test rows: {handout.worse_count}",
        "",
        *(f"* {_md(line)}" for line in handout.worse),
        "",
        *_md_tradeoffs(handout.tradeoffs),
        "### Changes to the prompt",
        "",
        f"{fence}diff",
        redact(handout.diff).rstrip("\n"),
        fence,
        "",
        f"Again: `{handout.again}` (run {summary.id})",
    ]
    return "\n".join(lines) + "\n"


def as_document(handout: Handout) -> dict[str, Json]:
    """For programs."""
    summary = handout.overview.summary
    return {
        "run": summary.id,
        "decision": summary.decision,
        "headline": handout.headline,
        "baseline": summary.baseline_score,
        "best": summary.best_score,
        "delta": handout.result.get("delta"),
        "resumed": handout.overview.resumed,
        "cost_usd": handout.overview.cost_usd,
        "alarms": list(handout.alarms),
        "warnings": list(handout.overview.warnings),
        "parts": [asdict(one) for one in handout.parts],
        "worse": handout.worse_count,
        "tradeoffs": tradeoffs_document(handout.tradeoffs),
        "diff": redact(handout.diff),
        "again": handout.again,
    }


def _html_parts(found: Sequence[Part]) -> str:
    if not found:
        return "<p>No rules, no demonstrations.</p>"
    rows = [
        f"<tr><td>{one.kind}</td><td>{_html(one.text)}</td><td>{_html(_origins(one))}</td><td>{_worth(one)}</td></tr>"
        for one in found
    ]
    return "<table><tr><th>kind</th><th>text</th><th>from</th><th>worth</th></tr>" + "".join(rows) + "</table>"


def _standing(one: Standing, rows: int) -> list[str]:
    """One prompt of the table of trade-offs, cell by cell."""
    who = one.proposer if one.role in ("", one.proposer) else f"{one.proposer} ({one.role})"
    figures = [as_figure(figure, rows) for figure in one.figures]
    return ["front" if one.on_front else "", f"{one.number}: {who}", *figures]


def _told(found: Tradeoffs) -> str:
    """What the table of trade-offs shows, and what not."""
    left = f"; {words}" if (words := left_out(found)) else ""
    front = "Front: no other prompt is as good by all of them and better by one."
    return f"Means over {found.rows} validation rows, with 95 % intervals{left}. {front}"


def _html_tradeoffs(found: Tradeoffs) -> list[str]:
    """Nothing where there is only one prompt to show."""
    from promptlearn import charts

    if len(found.standings) < 2:
        return []
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("", "prompt", *headings(found.objectives)))
    rows = "".join(
        "<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in _standing(one, found.rows)) + "</tr>"
        for one in found.standings
    )
    chart = charts.tradeoffs(found)
    return [
        "<h2>Trade-offs</h2>",
        f"<p>{escape(_told(found))}</p>",
        charts.as_svg(chart) if chart else "",
        f"<table><tr>{heads}</tr>{rows}</table>",
        "".join(f"<p>Test: {_html(line)}</p>" for line in test_lines(found)),
    ]


def _md_tradeoffs(found: Tradeoffs) -> list[str]:
    if len(found.standings) < 2:
        return []
    heads = ["", "prompt", *(_md(name) for name in headings(found.objectives))]
    rows = [f"| {' | '.join(_md(cell) for cell in _standing(one, found.rows))} |" for one in found.standings]
    table = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]
    tested = [f"* test: {_md(line)}" for line in test_lines(found)]
    return ["### Trade-offs", "", _told(found), "", *table, "", *tested, *([""] if tested else [])]


def _money(cost: float | None) -> str:
    return "cost unknown" if cost is None else f"${cost:.4f}"


def _origins(part: Part) -> str:
    return ", ".join(one.name for one in part.origins) or "the user"


def _worth(part: Part) -> str:
    effect = part.effect
    if effect is None:
        return "not measured"
    return f"{effect.score:+.3f} ({effect.ci95.low:+.3f} to {effect.ci95.high:+.3f})"


def _html(text: str) -> str:
    return escape(redact(text))


def _md(text: str) -> str:
    """Text that Markdown shows as it is, in one line: no markup, no link, no mention."""
    line = " ".join(redact(text).split())
    shown = _MARKUP.sub(lambda match: f"&#{ord(match[1])};", line)
    # A forge looks for mentions in what was rendered, so an entity alone hides no @: no name may follow it directly.
    return shown.replace("&#64;", "&#64;&#8203;").replace("://", "&#58;//").replace("www.", "www&#46;")
