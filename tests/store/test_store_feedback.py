"""Comments, how far they were read, and webhooks, in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptlearn.comments import Author, Comment, Kept, Progress, PullRequest, Received, Removal, Suggestion, Thread
from promptlearn.errors import UsageError
from promptlearn.store import Store, open_store
from promptlearn.store.deliveries import ATTEMPTS
from promptlearn.store.feedback_rows import Delivery, feedback_ref

HOST = "github.com"
COMMENT = Comment(
    id="PRRC_1",
    kind="inline",
    repo="acme/shop",
    pull=7,
    url="https://github.com/acme/shop/pull/7#discussion_r1",
    body="Say please.\r\n{x} $y \x00 \ud83d",
    author=Author("ann", "U_1"),
    association="MEMBER",
    created_at="2026-06-01T12:00:00Z",
    updated_at="2026-06-01T12:00:00Z",
    path="prompts/support.md",
    hunk="@@ -1 +1 @@",
    commit="c1",
    original_commit="c1",
    thread=Thread("T_1", resolved=True),
    reactions={"THUMBS_UP": 2},
    suggestions=(Suggestion("please\n", None),),
)
RECEIVED = Received(COMMENT, "Say please.", (Removal("link", "x.example"),), "write", "", "head1", ("clean",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


def with_comment(received: Received, **changes: Any) -> Received:
    return replace(received, comment=replace(received.comment, **changes))


async def test_a_comment_comes_back_as_it_went_in(store: Store) -> None:
    """Invariant 12."""
    assert await store.feedback.keep(HOST, [RECEIVED]) == Kept(new=1)
    (row,) = store.feedback.items()
    assert row.received == RECEIVED
    assert (row.ref, row.host, row.state, row.decision) == (feedback_ref(HOST, "PRRC_1"), HOST, "pending", None)
    assert store.feedback.get(row.ref[:6]) == row


async def test_the_same_comment_again_changes_nothing(store: Store) -> None:
    await store.feedback.keep(HOST, [RECEIVED])
    before = list(store.feedback.items())
    assert await store.feedback.keep(HOST, [RECEIVED, replace(RECEIVED, head="head2")]) == Kept(unchanged=1)
    assert list(store.feedback.items()) == before
    assert await store.feedback.keep(HOST, []) == Kept()


async def test_an_id_belongs_to_its_host(store: Store) -> None:
    await store.feedback.keep(HOST, [RECEIVED])
    assert await store.feedback.keep("ghe.acme.com", [RECEIVED]) == Kept(new=1)
    assert len(list(store.feedback.items(host=HOST))) == 1


async def test_what_was_seen_first_stays(store: Store) -> None:
    review = with_comment(RECEIVED, id="PRR_1", kind="review", original_commit=None)
    await store.feedback.keep(HOST, [review])
    assert await store.feedback.keep(HOST, [replace(with_comment(review, commit="c2"), head="head2")]) == Kept(
        changed=1
    )
    (row,) = store.feedback.items()
    assert await store.feedback.keep(HOST, [row.received]) == Kept(unchanged=1)
    assert (row.received.comment.original_commit, row.received.comment.commit, row.received.head) == (
        "c1",
        "c2",
        "head1",
    )


async def test_decisions_are_remembered_with_who_took_them(store: Store) -> None:
    await store.feedback.keep(HOST, [RECEIVED])
    ref = feedback_ref(HOST, "PRRC_1")
    row = await store.feedback.decide(ref, "approved", "carol", text="Always say please.", note="good")
    assert row == store.feedback.get(ref)
    assert (row.usable, row.text) == (True, "Always say please.")
    assert row.decision is not None
    assert (row.decision.by, row.decision.note) == ("carol", "good")
    review = row.review()
    assert (review.id, review.body, review.trusted, review.state) == (ref, "Always say please.", True, "approved")
    assert (review.suggestion, review.path, review.author) == (None, "prompts/support.md", "ann")
    await store.feedback.decide(ref, "dismissed", "dave")
    reopened = await store.feedback.decide(ref, "pending", "dave")
    assert (reopened.decision, reopened.review().suggestion) == (None, "clean")
    assert [event.kind for event in store.feedback.events(ref)] == ["approved", "dismissed", "pending"]


async def test_an_edit_opens_a_decision_and_forgets_what_was_made_of_it(store: Store) -> None:
    """Invariant 9."""
    await store.feedback.keep(HOST, [RECEIVED])
    ref = feedback_ref(HOST, "PRRC_1")
    await store.feedback.classify(ref, {"kind": "rule"})
    await store.feedback.decide(ref, "approved", "carol")
    assert store.feedback.get(ref).classification == {"kind": "rule"}
    assert await store.feedback.keep(HOST, [replace(RECEIVED, text="Say nothing.")]) == Kept(edited=1)
    row = store.feedback.get(ref)
    assert (row.state, row.decision, row.classification, row.usable) == ("pending", None, None, False)
    assert store.feedback.events(ref)[-1].body["text"] == "Say please."


async def test_what_is_not_trusted_any_more_is_not_used_though_approved(store: Store) -> None:
    """Invariant 9."""
    await store.feedback.keep(HOST, [RECEIVED])
    ref = feedback_ref(HOST, "PRRC_1")
    await store.feedback.decide(ref, "approved", "carol")
    await store.feedback.keep(HOST, [replace(RECEIVED, dropped="permission")])
    assert (store.feedback.get(ref).state, store.feedback.get(ref).usable) == ("approved", False)


async def test_a_comment_that_is_edited_while_somebody_decides(store: Store) -> None:
    """Invariant 9."""
    await store.feedback.keep(HOST, [RECEIVED])
    row = store.feedback.get(feedback_ref(HOST, "PRRC_1"))
    await store.feedback.keep(HOST, [replace(RECEIVED, text="Say nothing.")])
    with pytest.raises(UsageError, match="was edited meanwhile; look at it again"):
        await store.feedback.decide(row.ref, "approved", "carol", seen=row.received.text)
    assert store.feedback.get(row.ref).state == "pending"


async def test_comments_are_found_by_what_they_are(store: Store) -> None:
    rows = [
        with_comment(RECEIVED, id=f"C{n}", pull=n % 3, created_at=f"2026-06-{n % 28 + 1:02}T00:00:00Z")
        for n in range(1200)
    ]
    rows = [replace(row, dropped="bot" if n % 2 else "") for n, row in enumerate(rows)]
    assert await store.feedback.keep(HOST, rows) == Kept(new=1200)
    everything = list(store.feedback.items())
    assert len({row.ref for row in everything}) == store.feedback.count() == 1200
    assert [row.received.comment.created_at for row in everything] == sorted(row.comment.created_at for row in rows)
    assert len(list(store.feedback.items(pull=1))) == 400
    assert len(list(store.feedback.items(dropped=True))) == 600
    assert len(list(store.feedback.items(dropped=False, state="pending", repo="acme/shop"))) == 600
    assert list(store.feedback.items(state="approved")) == []


@pytest.mark.parametrize(
    ("ref", "message"), [("abc", "no comment 'abc'"), ("zzzzzz", "no comment 'zzzzzz'"), ("%%%%", "no comment '%%%%'")]
)
async def test_a_ref_that_names_nothing(store: Store, ref: str, message: str) -> None:
    await store.feedback.keep(HOST, [RECEIVED])
    with pytest.raises(UsageError, match=message):
        store.feedback.get(ref)


async def test_a_ref_that_names_two(store: Store) -> None:
    wanted: dict[str, str] = {}
    for n in range(2000):
        ref = feedback_ref(HOST, f"C{n}")
        if ref[:4] in wanted:
            await store.feedback.keep(HOST, [with_comment(RECEIVED, id=id) for id in (wanted[ref[:4]], f"C{n}")])
            with pytest.raises(UsageError, match="names more than one comment"):
                store.feedback.get(ref[:4])
            return
        wanted[ref[:4]] = f"C{n}"
    raise AssertionError("no two refs began alike")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
async def test_any_text_survives(store: Store, body: str, text: str, labels: list[str]) -> None:
    """Invariant 12."""
    received = replace(with_comment(RECEIVED, id=f"C{hash((body, text))}", body=body), text=text)
    await store.feedback.keep(HOST, [received])
    assert store.feedback.get(feedback_ref(HOST, received.comment.id)).received == received
    pull = PullRequest("a/b", 1, "PR", "", body, Author(), "open", "h", "", labels=tuple(labels))
    await store.pulls.note_pulls(HOST, [pull])
    assert store.pulls.pull(HOST, "a/b", 1) == pull


async def test_progress_is_per_source_and_etags_are_per_token(store: Store) -> None:
    source = store.pulls.source(HOST, "Acme/Shop", [["prompt"]])
    assert source == store.pulls.source(HOST, "acme/shop", [["prompt"]]) != store.pulls.source(HOST, "acme/shop", [])
    assert store.pulls.progress(source) == Progress()
    progress = Progress("2026-06-01T12:00:00Z", "", "p", resume="cursor", etags={"/x": 'W/"1"'})
    await store.pulls.set_progress(source, HOST, "acme/shop", progress)
    assert store.pulls.progress(source) == progress
    await store.pulls.set_etags("token1", source, {"/x": 'W/"1"', "/y": 'W/"2"'})
    await store.pulls.set_etags("token1", source, {"/x": 'W/"3"'})
    assert store.pulls.etags("token1", source) == {"/x": 'W/"3"', "/y": 'W/"2"'}
    assert store.pulls.etags("token2", source) == {}


async def test_readings_are_remembered(store: Store) -> None:
    await store.pulls.note_reads("s", {n: f"t{n}" for n in range(1200)})
    await store.pulls.note_reads("s", {3: "later"})
    found = store.pulls.reads("s", [*range(1300)])
    assert (len(found), found[3], found[4]) == (1200, "later", "t4")
    assert store.pulls.reads("other", [3]) == {}


async def test_permissions_are_remembered_for_a_while(store: Store) -> None:
    await store.pulls.set_permission(HOST, "acme/shop", "U_1", "write")
    assert store.pulls.permission(HOST, "acme/shop", "U_1", since="2000") == "write"
    assert store.pulls.permission(HOST, "acme/shop", "U_1", since="9999") is None
    assert store.pulls.permission(HOST, "acme/shop", "U_2", since="2000") is None


async def test_a_delivery_waits_once_and_over_restarts(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        for n in (2, 1):
            assert await store.deliveries.enqueue(Delivery(f"d{n}", HOST, "acme/shop", n, "x", received_at=f"t{n}"))
        assert not await store.deliveries.enqueue(Delivery("d1", HOST, "acme/shop", 9))
    with open_store(tmp_path / "store.db") as store:
        assert [one.pull for one in store.deliveries.waiting()] == [1, 2]
        await store.deliveries.finish(["d1"])
        assert [one.id for one in store.deliveries.waiting()] == ["d2"]
        assert not await store.deliveries.enqueue(Delivery("d1", HOST, "acme/shop", 1))


async def test_a_delivery_that_fails_is_tried_again_and_then_given_up(store: Store) -> None:
    await store.deliveries.enqueue(Delivery("d1", HOST, "acme/shop", 1))
    for attempt in range(ATTEMPTS):
        (waiting,) = store.deliveries.waiting()
        assert waiting.attempts == attempt
        await store.deliveries.fail(["d1"], "no: token ghp_0123456789abcdef")
    assert store.deliveries.waiting() == []
