"""How long the dashboard's pages take with 100,000 rollouts in the store, and how much memory the server needs.

    python benchmarks/dashboard.py         # a table for docs/performance.md; needs chromium

Each page is opened by a click in a browser on this machine, three times; the median counts, from the click until the
page's script has ended and everything is drawn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from seeded_store import seed  # noqa: E402

PAGES = ("Run", "Prompt", "Examples", "Failure modes", "Judges", "Tuning", "Compare", "Reviews", "Runs")
TIMES = 3
BUSY = "document.querySelector('[data-testid=stStatusWidget], [data-testid=stSkeleton]')"
DONE = f"() => !{BUSY} && document.querySelector('.stApp')?.dataset.testScriptState !== 'running'"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="promptlearn-") as name:
        folder = Path(name)
        store, _ = seed("large", folder)
        command = [
            sys.executable,
            "-m",
            "promptlearn",
            "dashboard",
            "--port",
            "0",
            "--no-browser",
            "--store",
            str(store),
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            measure(process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()
            process.wait(20)


def measure(url: str, pid: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        begun = time.perf_counter()
        page.goto(url)
        page.wait_for_selector("h1")
        first = time.perf_counter() - begun
        settle(page)
        print("| what | seconds |\n|---|---|")
        print(f"| first paint of a fresh server | {first:.2f} |")
        seconds: dict[str, list[float]] = {name: [] for name in PAGES}
        for _ in range(TIMES):
            for name in PAGES:
                seconds[name].append(visit(page, name))
        for name, taken in seconds.items():
            print(f"| {name} | {statistics.median(taken):.2f} |")
        print(f"\nMemory of the server, most: {peak(pid) / 1e6:.0f} MB")
        browser.close()


def visit(page: Any, name: str) -> float:
    begun = time.perf_counter()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", level=1, name=name, exact=True).wait_for()
    settle(page)
    return time.perf_counter() - begun


def settle(page: Any) -> None:
    page.wait_for_function(DONE, polling=20, timeout=60_000)


def peak(pid: int) -> float:
    """Bytes of memory that the process held at its most."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError("the system does not say how much memory a process had")


if __name__ == "__main__":
    main()
