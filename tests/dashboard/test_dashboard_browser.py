"""The dashboard in a real browser: from the first visit to a learned prompt on the disk."""

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic
from test_dashboard_server import dashboard

from promptlearn.comments import Author, Comment, Received
from promptlearn.store import open_store

pytest.importorskip("playwright", reason="the browser test needs playwright: pip install playwright")
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
SECONDS = 60_000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium: apt-get install chromium"),
]
CONFIG = """\
prompt: prompt.md
data: {file: tickets.csv, inputs: [message], expected: tag}
models: {task: scripted/model.yaml}
judges: [label_set]
reviews: reviews.json
search: {proposers: [rules], rounds: 1, prune: false}
budget: {task_calls: 600}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A configuration whose scripted model obeys the house rules once its prompt has them; and a comment that waits."""
    rules = [
        {"when": f"(?s)about a {topic} is {tag}.*user: .*my {topic} is", "reply": tag}
        for topic, tag in synthetic.TAGS.items()
    ]
    reviews = [
        {"id": review.id, "body": review.body, "author": "kim", "author_association": "MEMBER", "state": "approved"}
        for review in synthetic.house_rules()
    ]
    (tmp_path / "promptlearn.yaml").write_text(CONFIG)
    (tmp_path / "prompt.md").write_text(synthetic.SEED)
    (tmp_path / "model.yaml").write_text(json.dumps({"rules": rules, "default": "Thank you for your message!"}))
    (tmp_path / "reviews.json").write_text(json.dumps(reviews))
    with (tmp_path / "tickets.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["message", "tag"])
        writer.writeheader()
        writer.writerows(synthetic.rows(80))
    comment = Comment(
        id="c1",
        kind="inline",
        repo="shop/support",
        pull=3,
        url="https://example.invalid/pull/3#c1",
        body="Never promise a refund date.",
        author=Author("ana"),
        association="MEMBER",
        created_at="2026-01-01T00:00:00+00:00",
        updated_at="2026-01-01T00:00:00+00:00",
    )
    with open_store(tmp_path / ".promptlearn/store.db") as store:
        asyncio.run(store.feedback.keep("example.invalid", [Received(comment, comment.body)]))
    return tmp_path


@pytest.fixture
def said() -> list[str]:
    """Errors in the browser's console."""
    return []


@pytest.fixture
def visitor(said: list[str]) -> Iterator[Page]:
    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            said.append(f"{message.text} {message.location.get('url', '')}")

    expect.set_options(timeout=SECONDS)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1400})
        page.set_default_timeout(SECONDS)
        page.on("console", listen)
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page
        browser.close()


def go(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible(timeout=SECONDS)


def test_from_the_first_visit_to_a_learned_prompt(shop: Path, visitor: Page, said: list[str]) -> None:
    with dashboard(shop) as url:
        page = visitor
        page.goto(url)
        expect(page.get_by_text("No run yet")).to_be_visible(timeout=SECONDS)
        page.get_by_role("button", name="Start the run").click()
        expect(page.get_by_text("Proven better on rows that it never saw")).to_be_visible(timeout=2 * SECONDS)
        run = re.search(r"run=(\w+)", page.url)
        assert run

        go(page, "Prompt")
        expect(page.get_by_text("+ - A message about a invoice is billing.")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download this prompt").click()
        assert download.value.suggested_filename.startswith(f"prompt-{run[1]}")
        assert "A message about a parcel is shipping." in download.value.path().read_text()

        go(page, "Failure modes")
        page.get_by_role("button", name="Open the first of these rows").first.click()
        expect(page.get_by_role("heading", name="One example")).to_be_visible()
        expect(page.get_by_text("What was said about it")).to_be_visible()
        page.get_by_role("radio", name="Wrong").or_(page.get_by_role("button", name="Wrong")).first.click()
        page.get_by_label("Why").fill("It greets instead of naming the desk.")
        page.get_by_role("button", name="Keep this label").click()
        expect(page.get_by_text("It greets instead of naming the desk.")).to_be_visible()

        go(page, "Reviews")
        table = page.get_by_test_id("stDataFrame").first
        table.click(position={"x": 15, "y": 52})
        expect(page.get_by_role("heading", name="This comment")).to_be_visible()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_text(re.compile("approved by"))).to_be_visible()

        for name in ("Compare", "Judges", "Tuning", "Settings and health", "Runs"):
            go(page, name)
    assert said == []
    with open_store(shop / ".promptlearn/store.db") as store:
        assert [row.state for row in store.feedback.items()] == ["approved"]
