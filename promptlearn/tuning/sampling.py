"""Which sampler a run draws from: a vLLM server that is there and offers what training needs, else this process.

Knows the configuration's wish and how to find out; how a server is spoken to stands in tuning/vllm.py.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from promptlearn.config import SamplerConfig
from promptlearn.errors import ConfigError, ModelError, TuningError
from promptlearn.redaction import redact
from promptlearn.tuning.base import Backend
from promptlearn.tuning.vllm import VllmSampler


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend to train with, and what is to be said about its sampler."""

    backend: Backend
    note: str = ""
    warning: str = ""


@asynccontextmanager
async def chosen_sampler(settings: SamplerConfig, backend: Backend, base: str, folder: Path) -> AsyncIterator[Choice]:
    """The backend with its own sampler or with a server's, which is closed at the end.

    `base` is the name of the weights, `folder` where adapters are published. Raises what is wrong with the server where
    `settings` name the engine `vllm`.
    """
    if settings.engine == "local":
        yield Choice(backend)
        return
    sampler = VllmSampler(settings.url, api_key=_key(settings))
    try:
        try:
            await sampler.prove(backend.learner, settings.model, base, folder)
        except (ModelError, TuningError, ConfigError) as error:
            if settings.engine == "vllm":
                raise
            yield Choice(backend, warning=_why_not(settings, error))
        else:
            yield Choice(replace(backend, sampler=sampler), note=f"vLLM at {redact(settings.url)} draws the samples")
    finally:
        await sampler.close()


def _why_not(settings: SamplerConfig, error: Exception) -> str:
    """Nothing where nobody answers and nobody was asked for."""
    unasked = "url" not in settings.model_fields_set
    if unasked and isinstance(error, ModelError):
        return ""
    return f"vLLM at {redact(settings.url)} is not sampled from: {error}"


def _key(settings: SamplerConfig) -> str | None:
    return os.environ.get(settings.api_key_env) if settings.api_key_env else None
