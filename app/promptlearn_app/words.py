"""Figures and states in the words of the pages. Knows no page and no store."""

from __future__ import annotations

from datetime import UTC, datetime

STATES = {
    "running": "● running",
    "paused": "‖ paused",
    "stopping": "◌ stopping",
    "killed": "✕ killed",
    "finished": "✓ finished",
    "failed": "✕ failed",
    "interrupted": "■ stopped",
    "budget": "■ budget spent",
}
DECISIONS = {"improved": "▲ improved", "not_proven": "＝ not proven", "regressed": "▼ regressed"}
OUTCOMES = {"accepted": "▲ accepted", "rejected": "▼ rejected", "undecided": "＝ undecided"}
NONE = "–"


def score(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def share(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"


def signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.3f}"


def span(low: float | None, high: float | None) -> str:
    """A 95 % interval."""
    return "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"


def money(value: float | None) -> str:
    """Unknown stays unknown."""
    if value is None:
        return "unknown"
    return "$0" if not value else f"${value:.4f}" if value < 1 else f"${value:,.2f}"


def count(value: int | float | None) -> str:
    if value is None:
        return NONE
    if value < 10_000:
        return f"{value:,.0f}"
    return f"{value / 1000:,.0f}k" if value < 999_500 else f"{value / 1e6:.1f}M"


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s" if value < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(moment: str, now: datetime | None = None) -> str:
    """How long a moment (ISO 8601) is past: a word for people who look at a list."""
    try:
        then = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    passed = max(0, int(((now or datetime.now(UTC)) - then).total_seconds()))
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if passed >= size:
            amount = passed // size
            return f"{amount} {name}{'' if amount == 1 else 's'} ago"
    return "just now"


def rows_of(split: str | None) -> str:
    """Which rows a score is of."""
    return f"{split} rows" if split else "all rows"


def plural(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def cut(text: str, length: int = 120) -> str:
    """One line of a longer text."""
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def day(moment: str) -> str:
    """A date in UTC."""
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).strftime("%d %b %Y")
    except ValueError:
        return moment


def clock(moment: str) -> str:
    """Date and time in UTC, to the second."""
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).strftime("%d %b %H:%M:%S")
    except ValueError:
        return moment
