"""A handout says what was decided, and nothing in it can act on who reads it."""

import html
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from seeded_store import seed

from promptlearn.cli.main import execute
from promptlearn.handout import Handout, as_document, as_html, as_markdown, handout
from promptlearn.store import open_store

ACTIVE = {"script", "img", "iframe", "object", "embed", "link", "form", "a", "image", "foreignobject", "base"}


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


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
