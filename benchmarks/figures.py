"""What every benchmark prints: a Markdown table or JSON, and under which conditions it was measured."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("promptlearn-optimizer", "aiohttp", "gepa", "dspy", "litellm", "openai")


def conditions() -> dict[str, Any]:
    """The machine, how busy it was, and the versions."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def show(title: str, rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any], as_json: bool) -> None:
    """Print the rows (equal keys) as a Markdown table, or everything as one JSON document."""
    if as_json:
        print(json.dumps({"benchmark": title, "conditions": found, "rows": list(rows)}, indent=1))
        return
    machine = f"{found['cores']} cores of {found['cpu']}, load {found['load_before']}, Python {found['python']}"
    packages = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    print(f"### {title}\n\n{machine}; {packages}\n")
    print(_line(rows[0]), _line(["---"] * len(rows[0])), sep="\n")
    for row in rows:
        print(_line(_cell(value) for value in row.values()))
    print()


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
