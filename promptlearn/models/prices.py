"""What providers ask per token: LiteLLM's price table, read from the installed package without importing it.

Knows the table's names and units; asks no network. What the table does not say stays unknown, and so does a price of
nothing, which the table writes for models that nobody entered a price for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from promptlearn.models.base import Price
from promptlearn.records import Json

_TABLE = "model_prices_and_context_window_backup.json"
_CHATS = frozenset({"chat", "completion", "responses"})
_OTHER_UNITS = ("per_second", "per_character", "per_request", "per_session")
"""What a call costs beside its tokens; such a price can not be said in tokens."""
_BEYOND = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def price_of(provider: str, model: str) -> Price | None:
    """What `model` costs at `provider`, or None where LiteLLM is not installed or does not know.

    A fine-tuned model of OpenAI (`ft:BASE:ORGANISATION::ID`) costs what its base costs fine-tuned.
    """
    base = ":".join(model.split(":")[:2]) if model.startswith("ft:") else model
    for name in (f"{provider}/{model}", model, base):
        entry = _table().get(name)
        if entry is not None and _sold_by(entry, provider) and (price := price_of_entry(entry)):
            return price
    return None


def price_of_entry(entry: Mapping[str, Json]) -> Price | None:
    """The price in one entry of the table; None where it has none, or one that tokens do not say."""
    others = any(unit in key and entry[key] for key in entry for unit in _OTHER_UNITS)
    if entry.get("mode") not in _CHATS or others or entry.get("tiered_pricing"):
        return None
    price = _price(entry, "")
    if price is None or price.input == price.output == 0:
        return None
    beyond = None
    for thousand in sorted((int(found[1]) for key in entry if (found := _BEYOND.fullmatch(key))), reverse=True):
        dearer = _price(entry, f"_above_{thousand}k_tokens")
        if dearer is not None:
            beyond = (thousand * 1000, replace(dearer, beyond=beyond))
    return replace(price, beyond=beyond)


def _price(entry: Mapping[str, Json], suffix: str) -> Price | None:
    read, written, thought, hit, kept = (
        _per_million(entry.get(key + suffix))
        for key in (
            "input_cost_per_token",
            "output_cost_per_token",
            "output_cost_per_reasoning_token",
            "cache_read_input_token_cost",
            "cache_creation_input_token_cost",
        )
    )
    return None if read is None or written is None else Price(read, max(written, thought or 0.0), hit, kept)


def _per_million(value: Json) -> float | None:
    return round(value * 1_000_000, 9) if isinstance(value, int | float) else None


def _sold_by(entry: Mapping[str, Json], provider: str) -> bool:
    """The table splits some providers: `bedrock_converse` is bedrock, `vertex_ai-anthropic_models` vertex_ai."""
    return str(entry.get("litellm_provider", "")).startswith(provider)


@cache
def _table() -> Mapping[str, Json]:
    """Read once, on the first question: 3 MB take 80 ms."""
    found = find_spec("litellm")
    places = found.submodule_search_locations if found is not None else None
    for place in places or ():
        file = Path(place) / _TABLE
        if file.is_file():
            table: dict[str, Json] = json.loads(file.read_bytes())
            return table
    return {}
