"""Takes the pictures of the dashboard in docs/images: every page, light and dark, 1440 and 800 wide.

    python benchmarks/screenshots.py [--training STORE] [--only PAGE …]
    # needs the extra dashboard, playwright and /usr/bin/chromium

The runs in them are real runs on the shipped example, with scripted models in place of language models: the one
answers better the more rules its prompt has, the other judges, has moods, and is examined as `promptlearn judge` does.
Their figures show what a page looks like, and nothing else.
The page Tuning shows the latest training of STORE, such as `promptlearn compare` leaves behind; without one it is not
taken anew.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import promptlearn  # noqa: E402
from promptlearn.comments import Author, Comment, Received  # noqa: E402
from promptlearn.config import JudgeConfig, SearchConfig  # noqa: E402
from promptlearn.control import settle  # noqa: E402
from promptlearn.dataset import Dataset, load_dataset  # noqa: E402
from promptlearn.examine import examine_canaries  # noqa: E402
from promptlearn.examine.agreement import examine_agreement  # noqa: E402
from promptlearn.examine.alignment import align_judge  # noqa: E402
from promptlearn.examine.noise import examine_noise  # noqa: E402
from promptlearn.job import Job, JudgeSpec  # noqa: E402
from promptlearn.models.scripted import ScriptedModel  # noqa: E402
from promptlearn.records import Message, Prompt, Rollout  # noqa: E402
from promptlearn.report import tuning  # noqa: E402
from promptlearn.reviews import load_reviews  # noqa: E402
from promptlearn.store import open_store  # noqa: E402
from promptlearn.store.judge_rows import HumanLabel  # noqa: E402

IMAGES = ROOT / "docs/images"
EXAMPLE = ROOT / "examples/support_triage"
PAGES = ("runs", "run", "prompt", "examples", "failures", "judges", "reviews", "compare", "settings")
HEIGHT = {1440: 1150, 800: 1150}
TALL = {"judges": 2900}
"""Pages whose middle is worth seeing."""
COLOURS = 256
LABELS = ("Account", "Delivery", "Product", "Return", "Thanks")


def model() -> ScriptedModel:
    right = {str(row.inputs["message"]): str(row.expected) for row in _data().examples}

    def answer(messages: Sequence[Message]) -> str:
        taught = "\n".join(message.content for message in messages[:-1])
        question = messages[-1].content.strip().strip('"')
        known = sum(label in taught for label in LABELS)
        if not known or question not in right:
            return "Thank you for your message! How can I help?"
        luck = _luck(question)
        return right[question] if luck < 30 + 13 * known else LABELS[luck % len(LABELS)]

    return ScriptedModel(answer, name="scripted", identity="screenshots/1")


TAUGHT = "Another desk is incorrect, however near it is."
"""What people say of answers that the scripted judge passes in part, and what it obeys once its prompt says so."""


def judge_model() -> ScriptedModel:
    """Answers as `correctness`: repeats a verdict that it finds in an output, and is in another mood now and then."""
    moods = Random(1)

    def answer(messages: Sequence[Message]) -> str:
        shown = dict(re.findall(r"(?s)<<<DATA (\w+) \w+>>>\n(.*?)\n<<<END", messages[-1].content))
        output, expected = shown.get("output", ""), shown.get("expected", "")
        named = [label for label in LABELS if label in output]
        if "in every respect" in output:
            return _said("correct", "The output is right in every respect.")
        if expected in named:
            whim = moods.random() < 0.07
            return _said("partly_correct" if whim else "correct", f"It names {expected}, as expected.")
        if named and TAUGHT not in messages[0].content and _luck(shown.get("input", "")) < 70:
            return _said("partly_correct", f"It names {named[0]}, which is a desk and near {expected}.")
        return _said("incorrect", f"It does not name {expected}.")

    return ScriptedModel(answer, name="scripted-judge", identity="screenshots-judge/1")


def _said(label: str, why: str) -> str:
    return json.dumps({"explanation": why, "label": label, "suggestion": "none"})


def _luck(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100


def examine(store: Path, prompt: Prompt) -> None:
    """What `promptlearn judge noise|canary|calibrate|align` do, with labels as people might give them."""
    data = _data()
    with open_store(store) as opened:
        job = Job(
            prompt=prompt,
            file=None,
            dataset=data,
            task=model(),
            judge=judge_model(),
            judges=(JudgeSpec(JudgeConfig(use="correctness")),),
            proposers=("rules",),
            search=SearchConfig(rounds=1, prune=False),
            budget=promptlearn.Budget(task_calls=2000),
            store=opened,
        )
        labels = [_labelled(example) for example in data.examples[:200]]
        for examination in (
            examine_noise(job),
            examine_canaries(job),
            examine_agreement(job, labels),
            align_judge(job, labels),
        ):
            asyncio.run(examination)  # type: ignore[arg-type]
        [agreement] = opened.judges.items("agreement", "correctness")
        first = agreement.body["disagreements"][0]
        settle(opened, "correctness", first["item"], "partly_correct", "ana", "The customer asked about both desks.")


def _data() -> Dataset:
    return load_dataset(EXAMPLE / "tickets.csv", inputs=["message"], expected="label", group="customer")


def _labelled(example: promptlearn.Example) -> HumanLabel:
    """The right desk in a word or a sentence, or another desk, and what a person says of it."""
    luck, right = _luck(f"label {example.id}"), str(example.expected)
    other = LABELS[luck % len(LABELS)]
    if luck < 55 and other != right:
        return HumanLabel(example, Rollout("human", example.id, other), "incorrect", TAUGHT, "ana", "correctness")
    output = right if luck < 80 else f"I would send this to {right}."
    return HumanLabel(example, Rollout("human", example.id, output), "correct", "", "ana", "correctness")


def make_runs(store: Path) -> None:
    """Two runs on the shipped example, a second judge that is harder to please and a third that is examined, and
    comments that wait.
    """

    def short(example: promptlearn.Example, rollout: promptlearn.Rollout) -> dict[str, object]:
        fine = len(rollout.output) < 12
        return {"score": float(fine), "explanation": "One word." if fine else "The desk wants the label alone."}

    for seed, proposers, reviews in ((0, ["rules", "demos"], True), (1, ["demos"], False)):
        result = promptlearn.optimize(
            EXAMPLE / "prompt.yaml",
            EXAMPLE / "tickets.csv",
            inputs=["message"],
            expected="label",
            group="customer",
            task=model(),
            judge=judge_model(),
            judges=[
                "label_set",
                promptlearn.judging.Callable(short, name="one_word"),
                JudgeSpec(JudgeConfig(use="correctness"), weight=0),
            ],
            reviews=load_reviews(EXAMPLE / "review.json") if reviews else (),
            proposers=proposers,
            budget=promptlearn.Budget(task_calls=2500),
            store=str(store),
            seed=seed,
            rounds=3,
        )
        if reviews:
            examine(store, result.prompt)
    _comments(store)


def _comments(store: Path) -> None:
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
                context = browser.new_context(color_scheme=scheme)
                page = context.new_page()
                for name in pages:
                    page.set_viewport_size({"width": width, "height": TALL.get(name, height)})
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
    parser.add_argument("--only", nargs="+", default=PAGES, choices=PAGES, metavar="PAGE", help="pages to take anew")
    arguments = parser.parse_args()
    training: Path | None = arguments.training
    with tempfile.TemporaryDirectory(prefix="promptlearn-") as name:
        folder = Path(name) / "support-bot"
        folder.mkdir()
        for file in EXAMPLE.iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        store = folder / ".promptlearn/store.db"
        make_runs(store)
        with dashboard(folder, store) as url:
            take(url, arguments.only)
        if training is not None:
            with open_store(training) as opened:
                run = tuning(opened).id
            with dashboard(folder, training) as url:
                take(url, ["tuning"], run)


if __name__ == "__main__":
    main()
