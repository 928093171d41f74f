"""Engines: who takes the steps of a training run, and what each of them can not do. Loads neither torch nor TRL."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from promptlearn.config import TuningConfig
from promptlearn.errors import ConfigError


def check_engine(tuning: TuningConfig) -> None:
    """Raise ConfigError, in one line, for what the engine `trl` can not do."""
    refused = list(_refused_by_trl(tuning)) if tuning.engine == "trl" else []
    if refused:
        raise ConfigError(f"tuning.engine trl takes no {', no '.join(refused)}; leave that out, or take engine local")


def require_trl() -> None:
    """Raise ConfigError where TRL is not installed."""
    missing = [name for name in ("trl", "datasets") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"tuning.engine trl needs {', '.join(missing)}: pip install 'trl>=1.16'")


def _refused_by_trl(tuning: TuningConfig) -> Iterator[str]:
    if tuning.method != "rl":
        yield f"method {tuning.method}"
    if tuning.advantage == "leave_one_out":
        yield "advantage leave_one_out"
    if tuning.sampler.engine == "vllm":
        yield "sampler vllm"
    if tuning.max_staleness:
        yield f"max_staleness {tuning.max_staleness} (its samples are always fresh)"
