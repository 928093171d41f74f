"""A delivery is genuine or refused, and never says more than "read this pull request again" (invariant 9)."""

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.forge.webhooks import EVENTS, PullRef, sign, verify, wanted

SECRET = "It's a Secret to Everybody"
REPO = {"id": 7, "full_name": "shop/support"}
PULL = {"number": 2, "url": "https://api.github.com/repos/other/place/pulls/902"}
HERE = (PullRef("shop/support", 2),)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def delivery(event: str, action: str, **changes: Any) -> dict[str, Any]:
    """As GitHub sends it, without what nobody reads."""
    payload: dict[str, Any] = {"action": action, "repository": REPO, "sender": {"login": "ana"}}
    if event == "issue_comment":
        payload |= {"issue": {"number": 2, "pull_request": {"url": PULL["url"]}}, "comment": {"body": "hi"}}
    elif event == "check_run":
        payload |= {"check_run": {"pull_requests": [{"number": 2, "base": {"repo": {"id": 7}}}]}}
    else:
        payload |= {"pull_request": PULL}
    return payload | changes


def test_github_s_own_example_of_a_signature() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert sign(SECRET, b"Hello, World!") == expected
    assert verify(SECRET, b"Hello, World!", expected)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "sha1=" + hmac.new(SECRET.encode(), b"Hello, World!", hashlib.sha1).hexdigest(),
        "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17",
        sign("another", b"Hello, World!"),
        sign(SECRET, b"Hello, World! "),
        "sha256=\udcff",
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    assert not verify(SECRET, b"Hello, World!", header)


def test_an_empty_secret_signs_nothing() -> None:
    assert not verify("", b"{}", sign("", b"{}"))


@given(
    st.binary(max_size=40), st.binary(max_size=40), st.text(min_size=1, max_size=9).filter(lambda s: s.isprintable())
)
def test_a_signature_is_of_these_bytes_alone(raw: bytes, other: bytes, secret: str) -> None:
    assert verify(secret, raw, sign(secret, raw))
    assert verify(secret, raw, sign(secret, other)) == (raw == other)


@pytest.mark.parametrize(("event", "action"), [(event, action) for event in EVENTS for action in sorted(EVENTS[event])])
def test_what_changes_a_pull_request_says_which(event: str, action: str) -> None:
    assert wanted(event, delivery(event, action)) == HERE


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("push", delivery("pull_request", "closed")),
        ("ping", {"zen": "Keep it logically awesome."}),
        ("pull_request", delivery("pull_request", "labeled")),
        ("check_run", delivery("check_run", "created")),
        ("issue_comment", delivery("issue_comment", "created", issue={"number": 2})),
        ("check_run", delivery("check_run", "completed", check_run={"pull_requests": []})),
        ("pull_request", delivery("pull_request", "closed", repository={"full_name": "../../etc"})),
        ("pull_request", delivery("pull_request", "closed", repository=None)),
        ("pull_request", delivery("pull_request", "closed", pull_request={"number": True})),
        ("pull_request", delivery("pull_request", "closed", pull_request={"number": -1})),
        ("pull_request", delivery("pull_request", "closed", pull_request=[])),
        ("pull_request", []),
    ],
)
def test_everything_else_says_nothing(event: str, payload: Any) -> None:
    assert wanted(event, payload) == ()


def test_a_check_may_concern_several_pull_requests_but_only_of_its_repository() -> None:
    pulls = [{"number": n, "base": {"repo": {"id": repo}}} for n, repo in ((2, 7), (3, 7), (2, 7), (9, 8))]
    found = wanted("check_run", delivery("check_run", "completed", check_run={"pull_requests": pulls}))
    assert found == (PullRef("shop/support", 2), PullRef("shop/support", 3))
    assert str(found[1]) == "shop/support#3"


@given(
    st.sampled_from(sorted(EVENTS)), JSON, st.sampled_from(["issue", "check_run", "pull_request", "repository", "x"])
)
def test_no_payload_breaks_it(event: str, value: Any, key: str) -> None:
    action = min(EVENTS[event])
    assert wanted(event, value) == ()
    wanted(event, delivery(event, action) | {key: value})
