"""Wall time of one search with 2,000 task calls and 64 slots: promptlearn, GEPA and DSPy's GEPA, on the same server.

    python benchmarks/search.py                                     # everybody; about a quarter of an hour
    python benchmarks/search.py promptlearn gepa/64/2x2 --scale 0.2

A contender is named PRODUCT/WORKERS/PxN: `gepa` and `dspy` alone are as they come; with workers they may have so many
calls under way; PxN are GEPA's parallel proposals (P parents, N proposals of each). Everybody gets the same tickets,
the same latency seed, a budget of 2,000 metric calls and the same meta model. `ideal` is the sum of the latencies of
the calls that a contender made, of both models, divided by the slots; what a contender asks twice at the same time to
be faster is not counted into it. `score` is what share of new tickets the prompt that was found gets right.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import tickets
from figures import conditions, show
from latency_server import Latency, Served, served, serving

CONTENDERS = (
    *("promptlearn", "gepa", "gepa/64", "gepa/64/2x2", "gepa/64/4x4"),
    *("dspy", "dspy/64", "dspy/64/2x2", "dspy/64/4x4"),
)
TRAIN, VALIDATION, TEST = 300, 150, 60


def promptlearn(url: str, calls: int, workers: int | None, proposals: tuple[int, int] | None) -> str:
    from promptlearn import aoptimize
    from promptlearn.dataset import load_dataset
    from promptlearn.ledger import Budget
    from promptlearn.limits import Limits
    from promptlearn.models import open_model
    from promptlearn.models.base import Sampling

    rows = tickets.rows(TRAIN, VALIDATION, TEST)
    data = load_dataset(rows, inputs=["message"], expected="tag", split={"column": "split"})
    task = open_model(f"openai/{tickets.TASK_MODEL}", base_url=url)
    meta = open_model(f"openai/{tickets.META_MODEL}", base_url=url, sampling=Sampling(max_tokens=2048))

    async def search() -> str:
        with tempfile.TemporaryDirectory() as folder:
            found = await aoptimize(
                tickets.SEED,
                data,
                task=task,
                meta=meta,
                proposers=("rewrite", "edit"),
                budget=Budget(task_calls=calls),
                store=Path(folder) / "store.db",
                concurrency=workers or 64,
                pipeline_depth=8,
                drafts=1,
                spare=0.3,
                limits={"task": Limits(hedge=0.8)},
                rounds=1000,
                patience=1000,
            )
            return found.prompt.learned_text()

    return asyncio.run(search())


def gepa(url: str, calls: int, workers: int | None, proposals: tuple[int, int] | None) -> str:
    import gepa as library
    from gepa.adapters.default_adapter.default_adapter import DefaultAdapter, DefaultDataInst
    from gepa.core.adapter import EvaluationBatch
    from gepa.lm import LM
    from gepa.strategies.proposal_sampling import PxNSampling

    class FlatAdapter(DefaultAdapter):
        """All rows of all candidates of a step at once; GEPA's own runs one candidate after the other."""

        def batch_evaluate(self, items: Sequence[tuple[dict[str, str], list[DefaultDataInst]]]) -> list[Any]:
            chats = [
                [
                    {"role": "system", "content": next(iter(candidate.values()))},
                    {"role": "user", "content": row["input"]},
                ]
                for candidate, batch in items
                for row in batch
            ]
            replies = iter(self._lm.batch_complete(chats, max_workers=self.max_litellm_workers))
            known = DefaultAdapter(model=lambda messages: next(replies), evaluator=self.evaluator)
            evaluated: list[EvaluationBatch] = []
            for candidate, batch in items:
                evaluated.append(known.evaluate(batch, candidate, capture_traces=True))
            return evaluated

    class WideLM(LM):
        """Reflections of a step at once, more than GEPA's ten where there are more."""

        def batch_complete(self, messages_list: Any, max_workers: int = 64, **kwargs: Any) -> list[str]:
            return list(super().batch_complete(messages_list, max_workers=max_workers, **kwargs))

    rows = tickets.rows(TRAIN, VALIDATION, 0)
    data = {
        split: [
            {"input": row["message"], "additional_context": {}, "answer": row["tag"]}
            for row in rows
            if row["split"] == split
        ]
        for split in ("train", "validation")
    }
    task, meta = f"openai/{tickets.TASK_MODEL}", f"openai/{tickets.META_MODEL}"
    settings: dict[str, Any] = {"task_lm": task, "reflection_lm": meta}
    if workers:
        kind = FlatAdapter if proposals else DefaultAdapter
        settings = {"adapter": kind(model=task, max_litellm_workers=workers), "reflection_lm": WideLM(meta)}
    if proposals:
        settings["sampling_strategy"] = PxNSampling(*proposals)
    found = library.optimize(
        {"system": tickets.SEED},
        trainset=data["train"],
        valset=data["validation"],
        max_metric_calls=calls,
        **settings,
    )
    return str(found.best_candidate["system"])


def dspy(url: str, calls: int, workers: int | None, proposals: tuple[int, int] | None) -> str:
    import dspy as library
    from gepa.strategies.proposal_sampling import PxNSampling

    library.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    library.configure(lm=library.LM(f"openai/{tickets.TASK_MODEL}", api_base=url, api_key="none", cache=False))

    def metric(gold: Any, found: Any, *_: Any) -> Any:
        right = found.tag == gold.tag
        said = "Right." if right else f"Wrong: the tag of this ticket is {gold.tag}."
        return library.Prediction(score=float(right), feedback=said)

    rows = tickets.rows(TRAIN, VALIDATION, 0)
    data = {
        split: [
            library.Example(message=row["message"], tag=row["tag"]).with_inputs("message")
            for row in rows
            if row["split"] == split
        ]
        for split in ("train", "validation")
    }
    optimizer = library.GEPA(
        metric=metric,
        max_metric_calls=calls,
        num_threads=workers,
        reflection_lm=library.LM(f"openai/{tickets.META_MODEL}", api_base=url, api_key="none", cache=False),
        gepa_kwargs={"sampling_strategy": PxNSampling(*proposals)} if proposals else {},
    )
    student = library.Predict(library.Signature("message -> tag", tickets.SEED))
    found = optimizer.compile(student, trainset=data["train"], valset=data["validation"])
    return str(found.signature.instructions)


IMPORTS = {
    "promptlearn": ("promptlearn", "promptlearn.models.openai", "promptlearn.store.runs"),
    "gepa": ("gepa", "litellm"),
    "dspy": ("dspy", "gepa"),
}
PRODUCTS: dict[str, Callable[[str, int, int | None, tuple[int, int] | None], str]] = {
    "promptlearn": promptlearn,
    "gepa": gepa,
    "dspy": dspy,
}


def compete(name: str, url: str, calls: int) -> dict[str, Any]:
    """One search in this process; imports are not counted into its time."""
    product, _, rest = name.partition("/")
    workers, _, proposals = rest.partition("/")
    parents, _, each = proposals.partition("x")
    _imports(product)
    usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    with redirect_stdout(sys.stderr):
        prompt = PRODUCTS[product](
            url, calls, int(workers) if workers else None, (int(parents), int(each)) if proposals else None
        )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return {"wall": wall, "cpu": cpu, "prompt": prompt}


def _imports(product: str) -> None:
    for module in IMPORTS[product]:
        import_module(module)


def measure(name: str, latency: Latency, calls: int, slots: int) -> dict[str, Any]:
    """One contender in a process of its own, against a server of its own."""
    with serving(latency, sampled=True) as url:
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "none",
            "OPENAI_API_BASE": url,
            "OPENAI_BASE_URL": url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        command = [sys.executable, __file__, "--compete", name, "--url", url, "--calls", str(calls)]
        process = subprocess.run(command, env=environment, capture_output=True, text=True)
        if process.returncode:
            raise SystemExit(f"{name} failed:\n{process.stderr[-4000:]}")
        return _row(name, json.loads(process.stdout.splitlines()[-1]), served(url), slots)


def _row(name: str, run: dict[str, Any], seen: Served, slots: int) -> dict[str, Any]:
    # Nobody but promptlearn asks twice on purpose, so twins of others are work like any other.
    work = seen.drawn_s + (0 if name.startswith("promptlearn") else seen.twin_s)
    ideal = work / slots
    return {
        "contender": name,
        "wall s": run["wall"],
        "ideal s": ideal,
        "wall / ideal": run["wall"] / ideal,
        "task calls": seen.task_calls,
        "meta calls": seen.meta_calls,
        "most at once": seen.most_in_flight,
        "CPU s": run["cpu"],
        "score": tickets.skill(run["prompt"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contenders", nargs="*", help=f"by default: {' '.join(CONTENDERS)}")
    parser.add_argument("--scale", type=float, default=0.5, help="factor of all latencies")
    parser.add_argument("--seed", type=int, default=0, help="of the latencies")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--compete", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compete:
        print(json.dumps(compete(options.compete, options.url, options.calls)))
        return
    found, latency = conditions(), Latency(seed=options.seed, scale=options.scale)
    rows = []
    for name in options.contenders or CONTENDERS:
        rows.append(measure(name, latency, options.calls, options.slots))
        print(f"{name}: {rows[-1]['wall / ideal']:.2f} × ideal", file=sys.stderr)
    title = f"One search, {options.calls:,} task calls, {options.slots} slots (latencies × {options.scale:g})"
    show(title, rows, {**found, "latency": asdict(latency)}, options.json)


if __name__ == "__main__":
    main()
