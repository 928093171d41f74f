"""A handout says what was decided, and nothing in it can act on who reads it."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import synthetic
from seeded_store import seed

import promptlearn
from promptlearn.cli.main import execute
from promptlearn.handout import Handout, as_document, as_html, as_markdown, handout
from promptlearn.models.base import Reply
from promptlearn.models.scripted import ScriptedModel
from promptlearn.store import open_store

ACTIVE = {"script", "img", "iframe", "object", "embed", "link", "form", "a", "image", "foreignobject", "base"}


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


class Priced(ScriptedModel):
    """A tenth of a cent for every reply."""

    async def complete(self, *arguments: Any, **options: Any) -> Reply:
        reply = await super().complete(*arguments, **options)
        return replace(reply, usage=replace(reply.usage, cost_usd=0.001))


def told(kind: str, folder: Path) -> Handout:
    path, run = seed(kind, folder)  # type: ignore[arg-type]
    with open_store(path) as store:
        return handout(store, run)


def test_a_page_has_no_script_and_loads_nothing(tmp_path: Path) -> None:
    """Invariant 9: prompts, outputs and reviews in this store try to get at the reader."""
    page = as_html(told("improved", tmp_path))
    tags = Tags(page).found
    assert {tag for tag, _ in tags}.isdisjoint(ACTIVE)
    assert not [name for _, attrs in tags for name in attrs if name.startswith("on") or name in ("src", "href")]
    assert "<svg" in page
    assert "alert(1)" in page, "it is shown as text"


def test_a_page_says_what_is_decided(tmp_path: Path) -> None:
    page = as_html(told("improved", tmp_path))
    for words in (
        "is better",
        "0.400 → 0.900",
        "95 % interval +0.300 to +0.700",
        "$0.0460",
        "search.seed=7",
        "not measured",
    ):
        assert words in page


def test_markdown_has_no_image_no_tag_and_no_mention(tmp_path: Path) -> None:
    text = as_markdown(told("improved", tmp_path))
    outside = re.sub(r"(?ms)^(`{3,})diff\n.*?^\1$", "", text)
    assert "![" not in outside
    assert "<" not in outside
    assert "://" not in outside
    assert "| rule | A lost parcel is &#96;shipping&#96;. |" in outside


@pytest.mark.parametrize("kind", ["running", "failed", "not_proven", "improved"])
def test_every_run_can_be_told(kind: str, tmp_path: Path) -> None:
    one = told(kind, tmp_path)
    assert one.headline in as_markdown(one)
    assert as_document(one)["headline"] == one.headline


def test_the_command_writes_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = seed("not_proven", tmp_path)
    target = tmp_path / "run.md"
    assert execute(["report", run, "--md", "-o", str(target), "--store", str(path)]) == 0
    assert "No improvement is proven" in target.read_text()
    assert execute(["report", run, "--md", "--json", "--store", str(path)]) == 2


async def test_a_resumed_run_is_told_with_what_all_its_stretches_cost(tmp_path: Path) -> None:
    """Whoever is asked for money sees the whole sum, and what the last stretch alone took."""
    first, second = [
        await promptlearn.aoptimize(
            synthetic.SEED,
            synthetic.rows(90),
            task=Priced(synthetic.answer, identity="priced/1"),
            inputs=["message"],
            expected="tag",
            reviews=synthetic.house_rules(),
            proposers=["rules"],
            budget=promptlearn.Budget(task_calls=calls),
            store=tmp_path / "store.db",
        )
        for calls in (140, 2000)
    ]
    assert (first.run_id, first.resumed, second.resumed) == (second.run_id, False, True)
    last, whole = second.usage["task"], second.spent["task"]
    assert 0 < last.calls < whole.calls
    assert whole.calls == last.calls + last.cached_calls
    with open_store(tmp_path / "store.db") as store:
        told_of = handout(store, second.run_id)
    assert told_of.cost.startswith(f"{whole.calls} calls, ${whole.usd:.4f} in all stretches of the run")
    assert told_of.cost.endswith(f"in its last stretch {last.calls} paid calls, ${last.cost_usd:.4f}.")
    assert as_document(told_of)["cost_usd"] == pytest.approx(whole.usd)


def test_nobody_is_mentioned_in_a_pull_request(tmp_path: Path) -> None:
    """A forge looks for @name in what was rendered, entities resolved."""
    told_of = told("improved", tmp_path)
    page = as_markdown(replace(told_of, worse=("v1  ask @octocat and @shop/desk",), worse_count=1))
    prose = html.unescape(re.sub(r"```.*?```", "", page, flags=re.DOTALL))
    assert "octocat" in prose
    assert not re.search(r"@\w", prose)


def test_alarms_stand_above_what_was_learned(tmp_path: Path) -> None:
    """Whoever decides by this page sees first that the judges may have been fooled."""
    found = told("improved", tmp_path)
    assert found.alarms[0].startswith("alarm (all_pass): all 19 rows pass")
    for page in (as_html(found), as_markdown(found)):
        shown = html.unescape(page)
        assert 0 < shown.index("alarm (all_pass): all 19 rows pass") < shown.index("What it learned")
    assert as_document(found)["alarms"] == list(found.alarms)
