"""Takes the pictures of the dashboard in docs/images: every page, light and dark, 1440 and 800 wide.

    python benchmarks/screenshots.py [--training STORE]    # needs the extra dashboard, playwright and /usr/bin/chromium

The runs in them are real runs on the shipped example, with a scripted model in place of a language model:
it answers better the more rules its prompt has. Their figures show what a page looks like, and nothing else.
The page Tuning shows the latest training of STORE, such as `promptlearn compare` leaves behind; without one it is not
taken anew.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import promptlearn  # noqa: E402
from promptlearn.comments import Author, Comment, Received  # noqa: E402
from promptlearn.dataset.loading import load_dataset  # noqa: E402
from promptlearn.models.scripted import ScriptedModel  # noqa: E402
from promptlearn.records import Message  # noqa: E402
from promptlearn.report import tuning  # noqa: E402
from promptlearn.reviews import load_reviews  # noqa: E402
from promptlearn.store import open_store  # noqa: E402

IMAGES = ROOT / "docs/images"
EXAMPLE = ROOT / "examples/support_triage"
PAGES = ("runs", "run", "prompt", "examples", "failures", "judges", "reviews", "compare", "settings")
HEIGHT = {1440: 1150, 800: 1150}
COLOURS = 256
LABELS = ("Account", "Delivery", "Product", "Return", "Thanks")


def model() -> ScriptedModel:
    rows = load_dataset(EXAMPLE / "tickets.csv", inputs=["message"], expected="label", group="customer").examples
    right = {str(row.inputs["message"]): str(row.expected) for row in rows}

    def answer(messages: Sequence[Message]) -> str:
        taught = "\n".join(message.content for message in messages[:-1])
        question = messages[-1].content.strip().strip('"')
        known = sum(label in taught for label in LABELS)
        if not known or question not in right:
            return "Thank you for your message! How can I help?"
        luck = int(hashlib.sha256(question.encode()).hexdigest(), 16) % 100
        return right[question] if luck < 30 + 13 * known else LABELS[luck % len(LABELS)]

    return ScriptedModel(answer, name="scripted", identity="screenshots/1")


def make_runs(store: Path) -> None:
    """Two runs on the shipped example, a second judge that is harder to please, and comments that wait."""

    def short(example: promptlearn.Example, rollout: promptlearn.Rollout) -> dict[str, object]:
        fine = len(rollout.output) < 12
        return {"score": float(fine), "explanation": "One word." if fine else "The desk wants the label alone."}

    for seed, proposers, reviews in ((0, ["rules", "demos"], True), (1, ["demos"], False)):
        promptlearn.optimize(
            EXAMPLE / "prompt.yaml",
            EXAMPLE / "tickets.csv",
            inputs=["message"],
            expected="label",
            group="customer",
            task=model(),
            judges=["label_set", promptlearn.judging.Callable(short, name="one_word")],
            reviews=load_reviews(EXAMPLE / "review.json") if reviews else (),
            proposers=proposers,
            budget=promptlearn.Budget(task_calls=2500),
            store=str(store),
            seed=seed,
            rounds=3,
        )
    _comments(store)


def _comments(store: Path) -> None:
    import asyncio

    said = (
        ("ana-lopez", "MEMBER", "Never promise a refund date; only the desk for returns knows it.", ""),
        ("t-brandt", "OWNER", "Answer with the name of the desk alone, without a greeting.", ""),
        ("passer-by", "NONE", "You should add emojis, customers love them!", "no write permission"),
    )
    received = []
    for number, (login, role, body, dropped) in enumerate(said):
        comment = Comment(
            id=f"c{number}",
            kind="inline",
            repo="shop/support-bot",
            pull=12 + number,
            url=f"https://example.invalid/shop/support-bot/pull/{12 + number}#c{number}",
            body=body,
            author=Author(login),
            association=role,
            created_at=f"2026-11-1{number}T09:00:00+00:00",
            updated_at=f"2026-11-1{number}T09:00:00+00:00",
            path="prompts/support.yaml",
        )
        received.append(Received(comment, body, dropped=dropped))
    with open_store(store) as opened:
        asyncio.run(opened.feedback.keep("example.invalid", received))


@contextmanager
def dashboard(folder: Path, store: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "promptlearn", "dashboard", "--port", "0", "--no-browser", "--store", str(store)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder.parent)}  # no path of this machine
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(20)


def take(url: str, pages: Sequence[str], run: str = "") -> None:
    """Pictures of these pages, about one run where it is named."""
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            for width, height in HEIGHT.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                for name in pages:
                    page.goto(f"{url}/{'' if name == 'runs' else name}?run={run}")  # runs is the first page
                    page.wait_for_selector("h1")
                    page.wait_for_timeout(1500)
                    page.wait_for_function(
                        "!document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')",
                        timeout=60_000,
                    )
                    page.wait_for_timeout(900)
                    keep(page.screenshot(), IMAGES / f"{name}-{scheme}-{width}.png")
        browser.close()


def keep(png: bytes, path: Path) -> None:
    """With fewer colours: a screenshot of text and charts has few, and is a third as large."""
    from PIL import Image

    image = Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=Path, metavar="STORE", help="a store with a training run")
    training: Path | None = parser.parse_args().training
    with tempfile.TemporaryDirectory(prefix="promptlearn-") as name:
        folder = Path(name) / "support-bot"
        folder.mkdir()
        for file in EXAMPLE.iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        store = folder / ".promptlearn/store.db"
        make_runs(store)
        with dashboard(folder, store) as url:
            take(url, PAGES)
        if training is not None:
            with open_store(training) as opened:
                run = tuning(opened).id
            with dashboard(folder, training) as url:
                take(url, ["tuning"], run)


if __name__ == "__main__":
    main()
