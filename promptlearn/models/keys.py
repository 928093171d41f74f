"""API keys: where the environment holds them.

Knows names of environment variables, and the values only to hand them on: none is stored, logged or shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from promptlearn.errors import ConfigError

_NAMES = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET)$", re.IGNORECASE)
_SHORTEST = 16
"""Characters of a key; what is shorter may be an ordinary word, and would be blotted out of every text."""


def api_key(model: str, variable: str) -> str:
    """The key in `variable`. Raises ConfigError where it is not set."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(f"model {model}: the environment variable {variable} that holds its API key is not set")
    return key


def environment_keys(variables: Iterable[str] = ()) -> tuple[str, ...]:
    """What no text may show (invariant 10): the values of `variables`, and every key whose variable is named like one.

    Providers that are called through LiteLLM find their keys in the environment by themselves.
    """
    named = {name for name, value in os.environ.items() if _NAMES.search(name) and len(value.strip()) >= _SHORTEST}
    return tuple(os.environ[name] for name in sorted(named | set(variables)) if os.environ.get(name))
