"""Threads that sleep while they wait: asked for while a library is loaded, and never against the user's word."""

from __future__ import annotations

import os

import pytest

from promptlearn.models.openmp import sleeping_threads


def test_a_library_that_is_loaded_meanwhile_is_told_to_sleep_and_nobody_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with sleeping_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "passive"
    assert "OMP_WAIT_POLICY" not in os.environ


def test_the_user_s_word_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    with sleeping_threads():
        assert os.environ["OMP_WAIT_POLICY"] == "active"
    assert os.environ["OMP_WAIT_POLICY"] == "active"
