"""Task calls until 95 % of hidden rules are known: promptlearn and GEPA 0.1.4, with the same scripted teacher.

    python benchmarks/latent_rules.py                                        # the whole table, hours for GEPA
    python benchmarks/latent_rules.py promptlearn --rules 50 --seeds 2

A message mentions three topics; each of N hidden rules ties a topic to a tag, and an answer gives the three tags. The
task model knows a tag once its prompt states the rule, and answers "unknown" without it. The judge scores the share of
right tags and states the rules that were missed; one check of ten is wrong, in either direction. The teacher (the meta
model) adds at most `MOST_LEARNED` rules that it reads in the critique; when it writes a prompt anew it forgets each
rule that stood there with a chance of 4 %.

Counted are the calls of the task model, until the prompt that the optimizer would return at that moment knows 95 % of
the rules: promptlearn's incumbent, GEPA's candidate with the best validation score. `promptlearn` has its defaults,
with 16 calls and two rounds under way at a time; `promptlearn/1` does one thing after the other, as GEPA does. Each
cell (contender, number of rules, seed) is kept in `--results` when it ends, and is not run again. Everybody gets the
same rows and seeds. Rounds and patience are without end, and nothing is pruned.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

from figures import conditions, show

from promptlearn.records import Example, Message, Rollout, Verdict

SEED = "You sort the messages of our house. Answer with one tag for each topic of the message."
TOPICS = 3
"""Of a message."""
JUDGE_NOISE = 0.1
FORGOTTEN = 0.04
MOST_LEARNED = 10
"""New rules that the teacher states in one reply, at most; GEPA's minibatch of three shows nine."""
ENOUGH = 0.95
ROWS = {"train": 600, "validation": 100, "test": 20}
MOST_CALLS = 20_000
_RULE = re.compile(r"A message about (\w+) gets the tag (\w+)")
_ALLOWED = re.compile(r"at most (\d+) rules")
_SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True)
class World:
    """The hidden rules of one seed: topic → tag."""

    rules: Mapping[str, str]
    seed: int

    @classmethod
    def of(cls, count: int, seed: int) -> World:
        rng, names = Random(f"world/{count}/{seed}"), dict[str, None]()
        while len(names) < 2 * count:
            names["".join(rng.sample(_SYLLABLES, 3))] = None
        words = list(names)
        return cls(dict(zip(words[:count], words[count:], strict=True)), seed)

    def rows(self) -> list[dict[str, str]]:
        rng, table = Random(f"rows/{self.seed}"), list[dict[str, str]]()
        for split, count in ROWS.items():
            for _ in range(count):
                topics = rng.sample(sorted(self.rules), TOPICS)
                message = f"{len(table) + 1000}: {topics[0]}, {topics[1]} and {topics[2]}"
                tags = ", ".join(self.rules[topic] for topic in topics)
                table.append({"message": message, "tags": tags, "split": split})
        return table

    def known(self, prompt: str) -> float:
        """The share of the rules that a prompt states."""
        return len({topic for topic, tag in _RULE.findall(prompt) if self.rules.get(topic) == tag}) / len(self.rules)

    def answer(self, prompt: str, message: str) -> str:
        taught = dict(_RULE.findall(prompt))
        return ", ".join(taught.get(topic, "unknown") for topic in topics_of(message))

    def judge(self, prompt_id: str, message: str, output: str) -> tuple[float, str]:
        """Score and explanation; each tag's check is wrong with a chance of `JUDGE_NOISE`."""
        rng, given = Random(f"judge/{self.seed}/{prompt_id}/{message}"), output.split(", ")
        missed = []
        for topic, tag in zip(topics_of(message), given, strict=True):
            right = (tag == self.rules[topic]) != (rng.random() < JUDGE_NOISE)
            missed += [] if right else [f"A message about {topic} gets the tag {self.rules[topic]}."]
        return 1 - len(missed) / TOPICS, " ".join(missed) or "Every tag is right."

    def teach(self, asked: str, sample: int) -> str:
        """The teacher's reply, in the form that the request asks for."""
        rng = Random(f"teacher/{self.seed}/{sample}/{asked}")
        said = dict(_RULE.findall(asked))
        prompt = dict(_RULE.findall(_current(asked)))
        new = [topic for topic in said if topic not in prompt]
        if len(new) > (most := min([MOST_LEARNED, *map(int, _ALLOWED.findall(asked))])):
            new = sorted(rng.sample(new, most))
        if "</add>" in asked:
            return "\n".join(f"<add>{_rule(topic, said[topic])}</add>" for topic in new or list(said)[:1])
        kept = [topic for topic in prompt if rng.random() >= FORGOTTEN]
        text = "\n".join([SEED, *(_rule(topic, said[topic]) for topic in [*kept, *new])])
        if "<prompt>" in asked:
            return f"<rationale>States what was missed.</rationale>\n<prompt>\n{text}\n</prompt>"
        return f"```\n{text}\n```"


def topics_of(message: str) -> list[str]:
    return re.findall(r"[a-z]{6}", message)


def _rule(topic: str, tag: str) -> str:
    return f"A message about {topic} gets the tag {tag}."


def _current(asked: str) -> str:
    """The part of a request that is the prompt to be improved: all before the first mistake."""
    return re.split(r"It made these mistakes|The following are examples of different task inputs", asked)[0]


@dataclass
class Judging:
    """The noisy judge, as promptlearn calls it."""

    world: World
    name: str = "tags"

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        score, said = self.world.judge(rollout.prompt, str(example.inputs["message"]), rollout.output)
        return Verdict(self.name, rollout.id, score, explanation=said, passed=score == 1)


def promptlearn(world: World, calls: int, **settings: int) -> int | None:
    from promptlearn.config import SearchConfig
    from promptlearn.dataset import load_dataset
    from promptlearn.errors import Interrupted
    from promptlearn.job import Job, JudgeSpec, run_job
    from promptlearn.ledger import Budget
    from promptlearn.models.scripted import ScriptedModel
    from promptlearn.prompt import bind_variables
    from promptlearn.records import Prompt
    from promptlearn.report import prompt
    from promptlearn.runlog import Event
    from promptlearn.store import open_store

    def answer(messages: Sequence[Message]) -> str:
        return world.answer("\n".join(m.content for m in messages[:-1]), messages[-1].content)

    def teach(messages: Sequence[Message]) -> str:
        return world.teach("\n".join(m.content for m in messages), 0)

    identity = f"latent/{len(world.rules)}/{world.seed}"
    task = ScriptedModel(answer, name="task", identity=f"{identity}/task")
    meta = ScriptedModel(teach, name="meta", identity=f"{identity}/meta")
    dataset = load_dataset(world.rows(), inputs=["message"], expected="tags", split={"column": "split"})
    found: list[int] = []
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:

        def watch(event: Event) -> None:
            if event.kind == "decision" and event.body["outcome"] == "accepted":
                text = prompt(store, "latest", event.body["candidate"]).learned_text()
                if world.known(text) >= ENOUGH:
                    found.append(len(task.calls))

        job = Job(
            prompt=bind_variables(Prompt.of(SEED), dataset.variables),
            file=None,
            dataset=dataset,
            task=task,
            meta=meta,
            judges=(JudgeSpec(Judging(world)),),
            proposers=("rewrite", "edit"),
            search=SearchConfig(rounds=10_000, patience=10_000, prune=False, seed=world.seed, **settings),
            budget=Budget(task_calls=calls),
            store=store,
        )
        with suppress(Interrupted):
            asyncio.run(run_job(job, watch, stopping=lambda: bool(found)))
    return found[0] if found else None


def gepa(world: World, calls: int) -> int | None:
    import gepa as library
    from gepa.core.adapter import EvaluationBatch

    class Adapter:
        propose_new_texts = None
        calls = 0

        def evaluate(self, batch: Any, candidate: dict[str, str], capture_traces: bool = False) -> Any:
            self.calls += len(batch)
            prompt = candidate["system"]
            outputs = [world.answer(prompt, row["message"]) for row in batch]
            judged = [world.judge(prompt, row["message"], out) for row, out in zip(batch, outputs, strict=True)]
            traces = [
                {"Inputs": row["message"], "Generated Outputs": output, "Feedback": said}
                for row, output, (_, said) in zip(batch, outputs, judged, strict=True)
            ]
            return EvaluationBatch(outputs, [score for score, _ in judged], traces if capture_traces else None)

        def make_reflective_dataset(self, candidate: Any, evaluated: Any, components: Any) -> Any:
            return dict.fromkeys(components, evaluated.trajectories)

    rows, adapter, found = world.rows(), Adapter(), list[int]()

    def stop(state: Any) -> bool:
        scores = state.program_full_scores_val_set
        best = state.program_candidates[max(range(len(scores)), key=scores.__getitem__)]
        if not found and world.known(best["system"]) >= ENOUGH:
            found.append(adapter.calls)
        return bool(found) or adapter.calls >= calls

    with redirect_stdout(sys.stderr):
        library.optimize(
            {"system": SEED},
            trainset=[row for row in rows if row["split"] == "train"],
            valset=[row for row in rows if row["split"] == "validation"],
            adapter=adapter,
            reflection_lm=lambda asked: world.teach(asked if isinstance(asked, str) else str(asked), adapter.calls),
            stop_callbacks=stop,
            logger=Silence(),
            seed=world.seed,
        )
    return found[0] if found else None


class Silence:
    def log(self, message: str) -> None:
        """GEPA tells every step; nobody listens."""


def one_after_another(world: World, calls: int) -> int | None:
    """As GEPA: no row and no round before what decides about it."""
    return promptlearn(world, calls, concurrency=1, pipeline_depth=1)


PRODUCTS: dict[str, Callable[[World, int], int | None]] = {
    "promptlearn": promptlearn,
    "promptlearn/1": one_after_another,
    "gepa": gepa,
}


def measure(name: str, count: int, seed: int, calls: int) -> dict[str, Any]:
    started = time.perf_counter()
    found = PRODUCTS[name](World.of(count, seed), calls)
    return {"contender": name, "rules": count, "seed": seed, "calls": found, "seconds": time.perf_counter() - started}


def summary(name: str, count: int, cells: Sequence[Mapping[str, Any]], calls: int) -> dict[str, Any]:
    ended = [cell["calls"] for cell in cells if cell["calls"] is not None]
    return {
        "contender": name,
        "rules": count,
        "seeds": len(cells),
        "reached": len(ended),
        "mean calls": round(mean(ended)) if len(ended) == len(cells) else f"> {calls:,} in {len(cells) - len(ended)}",
        "median": round(median(ended)) if ended else "–",
        "least": min(ended, default="–"),
        "most": max(ended, default="–"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contenders", nargs="*", default=list(PRODUCTS), help=f"of {', '.join(PRODUCTS)}")
    parser.add_argument("--rules", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=MOST_CALLS, help="task calls after which a search is given up")
    parser.add_argument("--results", type=Path, help="JSON lines; cells that stand there are not run again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = conditions()
    kept = options.results.read_text().splitlines() if options.results and options.results.exists() else []
    cells = {(cell["contender"], cell["rules"], cell["seed"]): cell for cell in map(json.loads, kept)}
    rows = []
    for name in options.contenders:
        for count in options.rules:
            for seed in range(options.seeds):
                if (name, count, seed) not in cells:
                    cells[name, count, seed] = cell = measure(name, count, seed, options.calls)
                    print(json.dumps(cell), file=sys.stderr)
                    if options.results:
                        with options.results.open("a") as file:
                            file.write(json.dumps(cell) + "\n")
            rows.append(
                summary(name, count, [cells[name, count, seed] for seed in range(options.seeds)], options.calls)
            )
    show("Task calls until 95 % of the rules are known", rows, found, options.json)


if __name__ == "__main__":
    main()
