"""Prices: LiteLLM's table without LiteLLM, and what a call costs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.models import open_model, prices
from promptlearn.models.base import Price
from promptlearn.models.prices import price_of, price_of_entry

CHAT = {"mode": "chat", "input_cost_per_token": 2e-06, "output_cost_per_token": 1e-05}


def test_a_price_from_the_installed_table() -> None:
    assert price_of("openai", "gpt-4o-mini") == Price(0.15, 0.6, 0.075)
    assert price_of("anthropic", "claude-sonnet-4-5") == Price(3.0, 15.0, 0.3, 3.75)


def test_a_fine_tuned_model_costs_what_its_base_costs_fine_tuned() -> None:
    tuned = price_of("openai", "ft:gpt-4o-mini-2024-07-18:acme::id")
    assert tuned is not None
    assert tuned == price_of("openai", "ft:gpt-4o-mini-2024-07-18")
    assert tuned != price_of("openai", "gpt-4o-mini-2024-07-18")


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "no-such-model"), ("openai", "claude-sonnet-4-5"), ("openai", "dall-e-3")]
)
def test_what_the_table_does_not_say_is_unknown(provider: str, model: str) -> None:
    assert price_of(provider, model) is None


@pytest.mark.parametrize(
    ("entry", "price"),
    [
        (CHAT, Price(2.0, 10.0)),
        ({**CHAT, "cache_read_input_token_cost": 2e-07}, Price(2.0, 10.0, 0.2)),
        ({**CHAT, "cache_creation_input_token_cost": 2.5e-06}, Price(2.0, 10.0, None, 2.5)),
        ({**CHAT, "output_cost_per_reasoning_token": 4e-05}, Price(2.0, 40.0)),
        (
            {
                **CHAT,
                "input_cost_per_token_above_200k_tokens": 4e-06,
                "output_cost_per_token_above_200k_tokens": 1.5e-05,
                "input_cost_per_token_above_512k_tokens": 8e-06,
                "output_cost_per_token_above_512k_tokens": 2e-05,
                "input_cost_per_token_above_200k_tokens_priority": 1.0,
            },
            Price(2.0, 10.0, beyond=(200_000, Price(4.0, 15.0, beyond=(512_000, Price(8.0, 20.0))))),
        ),
        ({**CHAT, "mode": "embedding"}, None),
        ({"mode": "chat", "input_cost_per_token": 2e-06}, None),
        ({**CHAT, "input_cost_per_token": 0, "output_cost_per_token": 0}, None),
        ({**CHAT, "input_cost_per_request": 0.005}, None),
        ({**CHAT, "tiered_pricing": [{}]}, None),
        ({}, None),
    ],
)
def test_an_entry_of_the_table(entry: dict[str, object], price: Price | None) -> None:
    """Unknown, and a nothing that nobody entered, never become a price of zero."""
    assert price_of_entry(entry) == price


def test_without_litellm_every_price_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    prices._table.cache_clear()
    try:
        assert price_of("openai", "gpt-4o-mini") is None
    finally:
        prices._table.cache_clear()


@pytest.mark.parametrize(
    ("name", "options", "price"),
    [
        ("openai/gpt-4o-mini", {}, Price(0.15, 0.6, 0.075)),
        ("openai/gpt-4o-mini", {"base_url": "https://api.openai.com/v1"}, Price(0.15, 0.6, 0.075)),
        ("openai/gpt-4o-mini", {"price": Price(7.0, 8.0)}, Price(7.0, 8.0)),
        ("openai/gpt-4o-mini", {"price": Price(0.0, 0.0)}, Price(0.0, 0.0)),
        ("openai/gpt-4o-mini", {"base_url": "http://127.0.0.1:1/v1"}, None),
        ("openai/my-own", {}, None),
    ],
)
def test_only_openais_own_endpoint_has_openais_prices(
    name: str, options: dict[str, object], price: Price | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert open_model(name, **options).price == price  # type: ignore[arg-type]


def test_the_table_is_read_without_importing_litellm() -> None:
    code = (
        "import json, sys; from promptlearn.models.prices import price_of; p = price_of('openai', 'gpt-4o-mini');"
        "print(json.dumps([p.input, 'litellm' in sys.modules, 'aiohttp' in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [0.15, False, False]


def test_cost_by_kind_of_token() -> None:
    price = Price(2.0, 10.0, 0.2, 2.5, beyond=(1000, Price(4.0, 20.0)))
    assert price.cost(1000, 100) == pytest.approx((1000 * 2.0 + 100 * 10.0) / 1e6)
    assert price.cost(1000, 100, 600, 300) == pytest.approx((100 * 2.0 + 600 * 0.2 + 300 * 2.5 + 100 * 10.0) / 1e6)
    assert price.cost(1001, 100) == pytest.approx((1001 * 4.0 + 100 * 20.0) / 1e6)


amounts = st.floats(0, 100)
tokens = st.integers(0, 2000)


@given(
    amounts, amounts, st.none() | amounts, st.none() | amounts, tokens, tokens, tokens, st.floats(0, 1), st.floats(0, 1)
)
def test_no_call_costs_more_than_its_bound(
    read: float,
    written: float,
    hit: float | None,
    kept: float | None,
    size: int,
    answer: int,
    spare: int,
    cached: float,
    put: float,
) -> None:
    """Invariant 1: what is reserved for a call covers it, whatever the provider's cache does."""
    hit = None if hit is None else min(hit, read)
    price = Price(read, written, hit, kept, beyond=(1000, Price(2 * read, 2 * written, hit, kept and 2 * kept)))
    from_cache = int(size * cached)
    into_cache = int((size - from_cache) * put)
    cost = price.cost(size, answer, from_cache, into_cache)
    assert cost <= price.bound(size + spare, answer + spare) + 1e-12
