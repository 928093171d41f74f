"""How trade-offs look: what `show --pareto` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptlearn.report import Standing
    from promptlearn.store import Store


def show_tradeoffs(store: Store, run: str, as_json: bool) -> None:
    """Prompts of a run by its objectives."""
    from promptlearn.cli.console import note, print_json, say, table
    from promptlearn.report import tradeoffs
    from promptlearn.report.tradeoffs import as_document, headings, left_out, test_lines

    found = tradeoffs(store, run)
    if as_json:
        print_json(as_document(found))
        return
    if not found.standings:
        note("no prompt ran on every validation row, so there is nothing to compare")
        return
    heads = ["", "#", "prompt", "from", *headings(found.objectives)]
    table(heads, [_line(one, found.rows) for one in found.standings], right=(1, *range(4, len(heads))))
    say(f"means over {found.rows} validation rows, with 95 % intervals")
    if words := left_out(found):
        say(words)
    if not found.configured:
        say("quality alone decided; name others under `objectives` in the configuration")
    for line in test_lines(found):
        say(f"test: {line}")


def _line(one: Standing, rows: int) -> list[str]:
    from promptlearn.report.tradeoffs import as_figure

    who = one.proposer if one.role in ("", one.proposer) else f"{one.proposer} ({one.role})"
    figures = [as_figure(figure, rows) for figure in one.figures]
    return ["front" if one.on_front else "", str(one.number), one.digest[:8], who, *figures]
