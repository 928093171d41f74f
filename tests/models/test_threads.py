"""Threads that sleep while they wait: asked for while a library is loaded, and never against the user's word."""

from __future__ import annotations

import os

import pytest

from promptlearn.models.threads import sleeping_threads

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def told() -> tuple[str | None, ...]:
    """What a library would read now."""
    return tuple(os.environ.get(name) for name in VARIABLES)


@pytest.fixture(autouse=True)
def nobody_has_said_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_a_library_that_is_loaded_meanwhile_is_told_to_sleep_and_nobody_later() -> None:
    with sleeping_threads():
        assert told() == ("passive", "0")
    with sleeping_threads(500):
        assert told() == ("passive", "500")
    assert told() == (None, None)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("OMP_WAIT_POLICY", "active", ("active", None)), ("GOMP_SPINCOUNT", "7", ("passive", "7"))],
)
def test_the_user_s_word_stays(
    name: str, value: str, expected: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with sleeping_threads(500):
        assert told() == expected
    assert os.environ[name] == value
