"""From reviewers' comments to a draft pull request, on examples/support_triage with the embedded model.

    python benchmarks/reviews.py --into FOLDER [--seeds 0 1 2] [--model FILE.gguf] [--proposers rules] [--json]

A GitHub on loopback (the test suite's) holds the example's files and a pull request on which its reviewers said their
house rules, beside praise and a stranger's bad advice. For each seed the same configuration runs twice: with the
comments that were pulled and approved, and without any. Then `github propose` opens the draft of the first seed's run.
Takes about five minutes a run on two cores; given again with the same folder, it goes on where it stopped. `--model`
puts another file of weights in the place of SmolLM2-135M, `--proposers` others than the example's: of one folder always
the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from figures import conditions, show  # noqa: E402
from github_server import READ, WRITE, GitHubServer, World  # noqa: E402

from promptlearn.selection.stats import mean_interval, paired_test  # noqa: E402
from promptlearn.store import open_store  # noqa: E402

EXAMPLE = ROOT / "examples" / "support_triage"
REPO = "acme/support"
NOT_PROVEN = 3
MAY = {"MEMBER": "write", "OWNER": "admin", "COLLABORATOR": "write", "NONE": "none"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, required=True, help="a folder for checkouts and their stores")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", type=Path, help="a GGUF file instead of the example's model")
    parser.add_argument("--proposers", nargs="+", help="instead of the example's")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found, changes = conditions(), changed(given.model, given.proposers)
    server = GitHubServer(github())
    with server.in_thread() as url:
        rows = [measured(given.into.resolve(), seed, url, changes) for seed in given.seeds]
        opened = proposed(given.into.resolve() / f"with-{given.seeds[0]}", url)
    show("Reviewers' house rules", [*rows, overall(given.into.resolve(), given.seeds, changes)], found, given.json)
    print(f"draft pull request: {opened}", file=sys.stderr)


def changed(model: Path | None, proposers: Sequence[str] | None) -> list[str]:
    """What every run is given beside the example's configuration."""
    changes = [] if model is None else [f"models.task.model=local/{model.resolve()}"]
    return changes + ([] if proposers is None else [f"search.proposers={json.dumps(list(proposers))}"])


def github() -> World:
    """The example's repository, its reviewers, and what they said on one pull request."""
    world = World()
    repo = world.repo(REPO)
    repo.git.commit({path.name: path.read_bytes() for path in EXAMPLE.iterdir() if path.is_file()})
    said = json.loads((EXAMPLE / "review.json").read_text(encoding="utf-8"))
    people = {one["author"]: MAY[one["author_association"]] for one in said}
    users = {login: world.user(login, may=may, on=repo) for login, may in people.items()}
    pull = repo.pull(by=users[said[0]["author"]], files=["prompt.yaml"])
    for one in said:
        pull.comment(one["body"], by=users[one["author"]], path="prompt.yaml")
    world.pass_time(hours=1)
    return world


def checkout(folder: Path, **changes: Any) -> Path:
    """The example as a checkout, with a few keys of its configuration changed."""
    import yaml

    if not folder.exists():
        shutil.copytree(EXAMPLE, folder)
        subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
        path = folder / "promptlearn.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


def measured(into: Path, seed: int, url: str, changes: Sequence[str]) -> dict[str, Any]:
    """Both runs of one seed."""
    into.mkdir(parents=True, exist_ok=True)
    without = checkout(into / f"without-{seed}", reviews=None)
    taught = checkout(into / f"with-{seed}", reviews="store")
    cli(taught, "github", "pull", REPO, "--base-url", url, token=READ)
    cli(taught, "feedback", "approve", "--class", "rule", "--paths", "prompt.yaml", "--yes")
    bare, learned = (ran(folder, seed, changes) for folder in (without, taught))
    return row(f"seed {seed}", scores(without, bare), scores(taught, learned))


def ran(folder: Path, seed: int, changes: Sequence[str]) -> dict[str, Any]:
    kept = folder / "result.json"
    if not kept.exists():
        given = [part for change in (f"search.seed={seed}", *changes) for part in ("--set", change)]
        kept.write_text(json.dumps(cli(folder, "run", "--quiet", *given)), encoding="utf-8")
    document: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return document


def scores(folder: Path, result: dict[str, Any]) -> list[float]:
    """Of the shipped prompt on the test split, in the order of the examples; the table has one answer for each."""
    run, best = result["run_id"], result["best"]["digest"]
    with open_store(folder / ".promptlearn" / "store.db") as store:
        example = {kept.rollout.id: kept.rollout.example for kept in store.reader.rollouts(run, best, "test")}
        verdicts = store.reader.verdicts(run, best, "test")
    found = {example[one.rollout]: one.score for one in verdicts if one.score is not None}
    return [found[id_] for id_ in sorted(found)]


def row(name: str, without: Sequence[float], taught: Sequence[float]) -> dict[str, Any]:
    test, before, after = paired_test(taught, without), mean_interval(without), mean_interval(taught)
    return {
        "run": name,
        "without reviews": f"{sum(without) / len(without):.3f} ({before.low:.3f} – {before.high:.3f})",
        "with the house rules": f"{sum(taught) / len(taught):.3f} ({after.low:.3f} – {after.high:.3f})",
        "difference": f"{test.difference:+.3f} ({test.ci95.low:+.3f} – {test.ci95.high:+.3f})",
        "p": test.p_value,
        "n": len(taught),
    }


def overall(into: Path, seeds: Sequence[int], changes: Sequence[str]) -> dict[str, Any]:
    """Every example's mean over the seeds, with and without."""
    means = []
    for kind in ("without", "with"):
        folders = [into / f"{kind}-{seed}" for seed in seeds]
        per_seed = [scores(folder, ran(folder, seed, changes)) for folder, seed in zip(folders, seeds, strict=True)]
        means.append([sum(column) / len(column) for column in zip(*per_seed, strict=True)])
    return row(f"mean of {len(seeds)} seeds", *means)


def proposed(folder: Path, url: str) -> str:
    document = cli(folder, "github", "propose", "--repo", REPO, "--base-url", url, write_token=WRITE)
    return str(document["url"])


def cli(folder: Path, *arguments: str, token: str = "", write_token: str = "") -> dict[str, Any]:
    """One command of promptlearn in a process of its own, as a user gives it; its JSON document."""
    environment = {name: value for name, value in os.environ.items() if name != "PROMPTLEARN_STORE"}
    environment |= {"PYTHONPATH": str(ROOT), "GITHUB_TOKEN": token, "PROMPTLEARN_WRITE_TOKEN": write_token}
    command = [sys.executable, "-m", "promptlearn", *arguments, "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    if done.returncode not in (0, NOT_PROVEN):
        raise SystemExit(f"{' '.join(arguments)} in {folder}:\n{done.stdout}{done.stderr}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


if __name__ == "__main__":
    main()
