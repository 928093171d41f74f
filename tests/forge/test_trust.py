"""Whose words count, and why those of others do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from promptlearn.comments import Author, Comment, Suggestion
from promptlearn.forge.trust import MAY_WRITE, REASONS, Policy, judge, needs_permission

ANN = Author("Ann", "U_1")
ROBOT = Author("copilot", "B_1", "bot")
SAID = Comment("IC_1", "conversation", "acme/shop", 1, "", "Say please.", ANN, "NONE", "", "")


def said(**changes: Any) -> Comment:
    return replace(SAID, **changes)


@pytest.mark.parametrize(
    ("comment", "permission", "policy", "reason"),
    [
        (said(), "write", Policy(), ""),
        (said(), "maintain", Policy(), ""),
        (said(), "triage", Policy(), "permission"),
        (said(), "read", Policy(), "permission"),
        (said(association="OWNER"), "none", Policy(), "permission"),
        (said(association="MEMBER"), "", Policy(), ""),
        (said(association="CONTRIBUTOR"), "", Policy(), "permission"),
        (said(), "none", Policy(frozenset({"ann"})), ""),
        (said(author=ROBOT), "write", Policy(), "bot"),
        (said(author=ROBOT), "", Policy(bots=True), ""),
        (said(author=ROBOT), "", Policy.of(["Copilot[bot]"], bots=False, forks=False), ""),
        (said(author=Author(kind="deleted")), "", Policy(frozenset({""})), "deleted"),
        (said(fork=True), "write", Policy(), "fork"),
        (said(fork=True), "write", Policy(forks=True), ""),
        (said(fork=True), "read", Policy(forks=True), "permission"),
        (said(minimized="spam"), "admin", Policy(frozenset({"ann"})), "hidden"),
        (said(minimized="abuse"), "admin", Policy(), "hidden"),
        (said(minimized="resolved"), "admin", Policy(), ""),
    ],
)
def test_each_comment_counts_or_has_its_reason(comment: Comment, permission: str, policy: Policy, reason: str) -> None:
    """Invariant 9."""
    assert judge(comment, comment.body, permission, policy) == reason
    assert not reason or reason in REASONS


def test_a_comment_without_words_is_none_unless_it_suggests_something() -> None:
    assert judge(SAID, " \n", "admin", Policy()) == "empty"
    assert judge(said(suggestions=(Suggestion(""),)), "", "admin", Policy()) == ""


@pytest.mark.parametrize(
    "never", [said(author=ROBOT), said(fork=True), said(minimized="spam"), said(author=Author(kind="deleted"))]
)
def test_nobody_is_asked_about_whose_permission_does_not_matter(never: Comment) -> None:
    assert not needs_permission(never, "words", Policy())
    assert not needs_permission(SAID, "", Policy())
    assert not needs_permission(SAID, "words", Policy(frozenset({"ann"})))
    assert not needs_permission(said(author=ROBOT), "words", Policy(bots=True))
    assert needs_permission(SAID, "words", Policy())


def test_a_policy_s_digest_tells_policies_apart() -> None:
    make: Callable[..., str] = lambda *args: Policy(*args).digest  # noqa: E731
    digests = {make(), make(frozenset({"a"})), make(frozenset(), True), make(frozenset(), False, True)}
    assert len(digests) == 4
    assert make(frozenset({"a", "b"})) == make(frozenset({"b", "a"}))
    assert {"write", "admin", "maintain"} == MAY_WRITE
