"""Training and sampling in this process: torch, transformers and peft, on CUDA, MPS or the CPU."""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path

from promptlearn.errors import ConfigError
from promptlearn.models.threads import cores, sleeping_threads
from promptlearn.tuning.base import Backend, Lora

_opening = threading.Lock()
"""Opening weights uses random numbers and defaults of torch that belong to the whole process."""
_PACKAGES = ("torch", "transformers", "peft", "safetensors", "gguf")


def require_torch() -> None:
    """Raise ConfigError, in one line that names the extra, where a package is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {', '.join(missing)}: pip install 'promptlearn-optimizer[rl]'")


def chosen_device(asked: str | None = None) -> str:
    """What was asked for, else `cuda`, `mps` or `cpu`, whichever is there first. Raises ConfigError for what is not."""
    import torch

    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    there = [name for name, found in seen.items() if found]
    if asked is None:
        return there[0]
    if asked.partition(":")[0] not in there:
        raise ConfigError(
            f"tuning.device: {asked} was asked for, and torch {torch.__version__} sees only {', '.join(there)} here:"
            " take `device: auto`"
        )
    return asked


def open_local(
    name: str,
    lora: Lora | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Backend:
    """A tokenizer, a sampler and a learner over one set of weights; takes seconds.

    `name` is a model as in `loading.load`. The sampler ends a completion at every end token that the model's generation
    configuration or its tokenizer names. `threads` are torch's, in this whole process. Raises ConfigError.
    """
    require_torch()
    with sleeping_threads():
        from promptlearn.tuning.local.learner import LocalLearner
        from promptlearn.tuning.local.loading import load
        from promptlearn.tuning.local.policy import Policy
        from promptlearn.tuning.local.sampler import LocalSampler

    device = chosen_device(device)
    use_threads(device, threads)
    with _opening:
        model, tokenizer, model_hash = load(name, device, cache_dir)
        named = model.generation_config.eos_token_id
        ends = {*(named if isinstance(named, list) else [named]), tokenizer.eos_id} - {None}
        policy = Policy(model, lora or Lora(), model_hash=model_hash, eos_ids=sorted(ends))
    return Backend(tokenizer, LocalSampler(policy), LocalLearner(policy))


def use_threads(device: str, count: int | None) -> None:
    """Let torch take so many for one operation on the CPU; by default what it or OMP_NUM_THREADS says, but on two
    processors one.

    Measured with SmolLM2-135M on two: a group of eight samples with four tokens took 1.35 s with one thread, 1.2 s with
    two that spin while they wait, 2.5 s with two that sleep; in two processes with one thread each it took 1.35 s, too.
    """
    import torch

    if device != "cpu":
        return
    if count is None and cores() <= 2 and "OMP_NUM_THREADS" not in os.environ:
        count = 1
    if count is not None:
        torch.set_num_threads(count)
