"""100,000 rollouts: every read that a page makes stays under a second."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from seeded_store import seed

from promptlearn import report
from promptlearn.store import Store, open_store

READS: dict[str, Callable[[Store, str], object]] = {
    "list_runs": lambda store, run: report.list_runs(store),
    "overview": report.overview,
    "load_run": report.load_run,
    "family": report.family,
    "matrix, first page": report.matrix,
    "matrix, regressed, deep": lambda store, run: report.matrix(store, run, change="regressed", offset=1500),
    "matrix, 8 versions": lambda store, run: report.matrix(store, run, ("baseline", *range(1, 8), "best")),
    "matrix, with a word": lambda store, run: report.matrix(store, run, contains="Ticket 12345"),
    "example_detail": lambda store, run: report.example_detail(store, run, "large12000"),
    "failure_modes": lambda store, run: report.failure_modes(store, run, "baseline", "validation"),
    "judges": report.judges,
    "disagreements": lambda store, run: report.disagreements(store, run, "baseline"),
    "disagreements with people": lambda store, run: report.disagreements(store, run, with_people=True),
    "remarks": lambda store, run: report.remarks(store),
    "cost_curve": report.cost_curve,
    "events": report.events,
}


@pytest.mark.slow
def test_reads_of_a_large_run_are_quick(tmp_path: Path) -> None:
    path, run = seed("large", tmp_path)
    took = {}
    with open_store(path) as store:
        assert sum(report.overview(store, run).rows.values()) > 100_000
        for name, read in READS.items():
            started = time.process_time()
            read(store, run)
            took[name] = time.process_time() - started
    print({name: round(seconds, 3) for name, seconds in took.items()})
    assert {name: seconds for name, seconds in took.items() if seconds >= 1} == {}
