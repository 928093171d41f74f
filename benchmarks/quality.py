"""Learned prompts on real models: promptlearn, GEPA, DSPy's MIPROv2 and one rewrite pass, with 300 task calls each.

    python benchmarks/quality.py --data DATA --models MODELS --results FILE               # whatever is not there yet
    python benchmarks/quality.py --results benchmarks/results/quality.jsonl --table       # the table alone

DATA holds `banking77/{train,test}.csv` and `bbh/*.json`; MODELS holds `qwen-coder-0.5b.gguf` (the task model) and
`qwen-coder-1.5b.gguf` (the meta model; answers are judged by code, `label_set`). A cell is one contender on one task
with one seed: about ten minutes on two cores. It is written when it ends and skipped from then on, so the table fills
over several runs of one command. `--only promptlearn` (or a task's name, or `seed=0`) picks cells.

Scores of one row with two seeds are no two rows: statistics are those of `promptlearn.selection.crossed`, as in
`compare`. `calls` are task calls while learning; `s` are the seconds of a whole cell, with its 100 test rows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from figures import conditions
from quality_contenders import CONTENDERS, Contest
from quality_models import Served, Server
from quality_tasks import TASKS, load

STUDENT, META = "qwen-coder-0.5b", "qwen-coder-1.5b"
BUDGET, SEEDS = 300, (0, 1)
ANSWER_TOKENS, META_TOKENS, META_TEMPERATURE = 16, 512, 0.7


def cells(only: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    """(task, contender, seed), in the order in which they are filled."""
    for seed in SEEDS:
        for task in TASKS:
            for contender in CONTENDERS:
                names = {task, contender, f"seed={seed}"}
                if names.issuperset(only) and (contender != "seed-prompt" or seed == SEEDS[0]):
                    yield task, contender, seed


def read(path: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """The cells of a results file; the last one counts where a cell stands there twice."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.strip()]
    return {(cell["task"], cell["contender"], cell["seed"]): cell for cell in found}


def fill(args: argparse.Namespace) -> None:
    """Run the cells that are not there yet, side by side in processes that have servers of their own."""
    missing = [cell for cell in cells(args.only) if cell not in read(args.results)]
    given = (args.models, args.threads, args.llama_server)
    with ProcessPoolExecutor(args.at_once, get_context("spawn"), initializer=serve, initargs=given) as pool:
        under_way = {pool.submit(measure, *cell, args.data, args.budget): cell for cell in missing}
        for done in as_completed(under_way):
            name = " ".join(map(str, under_way[done]))
            if (error := done.exception()) is not None:  # others may end well; this one is tried again by the next run
                print(f"{name} failed:", *traceback.format_exception(error), file=sys.stderr, flush=True)
                continue
            cell = done.result()
            keep(args.results, cell)
            print(f"{name}: {_score(cell):.2f} in {cell['seconds']} s", flush=True)


_serving: list[Server] = []
"""Task model and meta model of this process."""


def serve(models: Path, threads: int, program: Path | None) -> None:
    for name, slots in ((STUDENT, 4), (META, 2)):
        _serving.append(Server(models / f"{name}.gguf", threads=threads, slots=slots, program=program))


def measure(task: str, contender: str, seed: int, data: Path, budget: int) -> dict[str, Any]:
    """One cell."""
    found, started = conditions(), time.perf_counter()
    at = [server.address for server in _serving]
    student = Served(STUDENT, at[0], ANSWER_TOKENS, temperature=0.0)
    meta = Served(META, at[1], META_TOKENS, META_TEMPERATURE)
    shipped = CONTENDERS[contender](Contest(load(task, data, seed), seed, budget, student, meta))
    return {
        **{"task": task, "contender": contender, "seed": seed, "budget": budget},
        **{"scores": shipped.scores, "task_calls": shipped.task_calls},
        **{"meta_calls": shipped.notes.pop("meta_calls", meta.calls), "notes": shipped.notes},
        **{"seconds": round(time.perf_counter() - started), "prompt": shipped.prompt, "conditions": found},
    }


def keep(results: Path, cell: dict[str, Any]) -> None:
    """Append a cell. Prompts show rows of the data, so they lie in a folder of their own beside the figures."""
    prompts = results.with_suffix("")
    prompts.mkdir(exist_ok=True)
    name = f"{cell['task']}-{cell['contender']}-{cell['seed']}.txt"
    (prompts / name).write_text(cell.pop("prompt"), encoding="utf-8")
    with results.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(cell, ensure_ascii=False) + "\n")


def table(found: Mapping[tuple[str, str, int], dict[str, Any]]) -> str:
    from promptlearn.selection.crossed import crossed_mean

    lines = [
        "| task | contender | by seed | test score (95 %) | promptlearn ahead by (95 %) | calls | meta calls | s |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for task in TASKS:
        for contender in CONTENDERS:
            mine = [cell for (name, who, _), cell in sorted(found.items()) if (name, who) == (task, contender)]
            if not mine:
                continue
            mean = crossed_mean([cell["scores"] for cell in mine])
            by_seed = ", ".join(f"{score:.2f}" for score in mean.by_seed if score is not None)
            lines.append(
                f"| {task} | {contender} | {by_seed} | {mean.score:.3f} ({mean.ci95.low:.2f} – {mean.ci95.high:.2f})"
                f" | {_ahead(found, task, contender)} | {_mean(mine, 'task_calls')} | {_mean(mine, 'meta_calls')}"
                f" | {_mean(mine, 'seconds')} |"
            )
    return "\n".join(lines)


def _ahead(found: Mapping[tuple[str, str, int], dict[str, Any]], task: str, contender: str) -> str:
    """promptlearn minus the contender, on the seeds that both have; the seed prompt is the same for each of them."""
    from promptlearn.selection.crossed import crossed_gap

    theirs = {seed: found.get((task, contender, 0 if contender == "seed-prompt" else seed)) for seed in SEEDS}
    pairs = [
        (other["scores"], ours["scores"])
        for seed, other in theirs.items()
        if other and (ours := found.get((task, "promptlearn", seed)))
    ]
    if contender == "promptlearn" or not pairs:
        return ""
    gap = crossed_gap([other for other, _ in pairs], [ours for _, ours in pairs])
    which = "" if len(pairs) == len(SEEDS) else ", one seed"
    return f"{gap.difference:+.3f} ({gap.ci95.low:+.2f} – {gap.ci95.high:+.2f}), p = {gap.p_value:.2g}{which}"


def _score(cell: Mapping[str, Any]) -> float:
    """Mean over the test rows that were judged."""
    scored = [score for score in cell["scores"] if score is not None]
    return float(sum(scored) / len(scored))


def _mean(cells: Sequence[Mapping[str, Any]], key: str) -> int:
    return round(sum(cell[key] for cell in cells) / len(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1, help="of each llama.cpp server")
    parser.add_argument("--at-once", type=int, default=2, help="cells side by side, each with two servers of its own")
    parser.add_argument(
        "--llama-server", type=Path, metavar="PROGRAM", help="built for this processor; else the one of local/ models"
    )
    parser.add_argument("--budget", type=int, default=BUDGET, help="task calls")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="task, contender, seed=N")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    args = parser.parse_args()
    if not args.table:
        if not (args.data and args.models):
            parser.error("--data and --models say where data and models are; --table prints what is there")
        fill(args)
    print(table(read(args.results)))


if __name__ == "__main__":
    main()
