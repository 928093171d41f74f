"""Records survive the store: what comes back is equal, for every character (invariant 12)."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptlearn.errors import StoreError
from promptlearn.records import (
    Candidate,
    Contract,
    CriterionVerdict,
    Decision,
    Demonstration,
    Draft,
    Effect,
    Example,
    Failure,
    FailureMode,
    Interval,
    Json,
    Layout,
    Message,
    Prompt,
    Review,
    Rollout,
    Rule,
    ToolCall,
    Turn,
    TurnNote,
    Usage,
    Verdict,
)
from promptlearn.store.codec import decode, dumps, encode

EFFECTS = st.sampled_from(["helped", "neutral", "hurt"])
AWKWARD = st.sampled_from(
    ["{", "}", "{{x}}", "$", "${x}", "\r\n", "\r", "\u2028", "\x00", "\ufeff", "é", "e\u0301", "🦊", "\ud83d"]
)
texts = (
    st.lists(AWKWARD | st.text(st.characters(exclude_categories=()), max_size=8), max_size=4)
    .map("".join)
    .filter(lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text))
)
numbers = st.floats(allow_nan=False)
values: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
mappings = st.dictionaries(texts, values, max_size=3)
several = st.lists(texts, max_size=3).map(tuple)
maybe_texts = st.none() | texts
maybe_numbers = st.none() | numbers
counts = st.integers(0, 10**12)


def tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(strategy, max_size=2).map(tuple)


usages = st.builds(Usage, counts, counts, counts, counts, counts, st.none() | st.floats(0, 1e6))
failures = st.builds(Failure, texts, texts)
intervals = st.builds(Interval, numbers, numbers)
rules = st.builds(Rule, texts, several, st.none() | st.builds(Effect, numbers, intervals, counts))
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)
demonstrations = st.builds(Demonstration, mappings, texts, texts)
contracts = st.builds(Contract, st.frozensets(texts, max_size=3), several, st.none() | counts, st.none() | mappings)
layouts = st.builds(Layout, st.sampled_from(["turns", "text"]), texts, texts)
prompts = st.builds(
    Prompt,
    st.lists(messages, min_size=1, max_size=2).map(tuple),
    tuples(rules),
    tuples(demonstrations),
    contracts,
    layouts,
)
notes = st.builds(TurnNote, st.integers(1, 9), EFFECTS, texts)
turns = st.builds(Turn, texts, texts, tuples(st.builds(ToolCall, texts, mappings, maybe_texts)))
RECORDS: dict[type[Any], st.SearchStrategy[Any]] = {
    Example: st.builds(Example, texts, mappings, values, mappings, maybe_texts, maybe_texts),
    Prompt: prompts,
    Rollout: st.builds(Rollout, texts, texts, texts, tuples(turns), texts, st.none() | failures, usages, numbers),
    Verdict: st.builds(
        Verdict,
        name=texts,
        rollout=texts,
        score=maybe_numbers,
        label=maybe_texts,
        explanation=texts,
        suggestion=maybe_texts,
        passed=st.none() | st.booleans(),
        error=st.none() | failures,
        kind=st.sampled_from(["llm", "code", "human", "review", "ci"]),
        turn_notes=tuples(notes),
        criteria=tuples(st.builds(CriterionVerdict, texts, st.booleans(), texts)),
        source=texts,
        usage=usages,
    ),
    Review: st.builds(
        Review,
        id=texts,
        body=texts,
        author=texts,
        trusted=st.booleans(),
        state=st.sampled_from(["pending", "approved", "dismissed"]),
        path=maybe_texts,
        suggestion=maybe_texts,
        url=maybe_texts,
        created_at=maybe_texts,
    ),
    FailureMode: st.builds(FailureMode, texts, several, several, several, texts, st.booleans()),
    Draft: st.builds(Draft, prompts, texts, usages),
    Candidate: st.builds(Candidate, prompts, several, texts, texts, usages),
    Decision: st.builds(
        Decision,
        candidate=texts,
        incumbent=texts,
        stage=st.sampled_from(["contract", "gate", "race", "prune"]),
        outcome=st.sampled_from(["accepted", "rejected", "undecided"]),
        reason=texts,
        pairs=counts,
        difference=maybe_numbers,
        ci95=st.none() | intervals,
        p_value=maybe_numbers,
    ),
}


@pytest.mark.parametrize("cls", RECORDS, ids=lambda cls: cls.__name__)
def test_a_record_comes_back_equal(cls: type[Any]) -> None:
    """Invariant 12."""

    @settings(max_examples=40, deadline=None)
    @given(RECORDS[cls])
    def round_trip(record: Any) -> None:
        text = encode(record)
        assert decode(cls, text) == record
        assert encode(decode(cls, text)) == text
        assert "\x00" not in text
        text.encode("utf-8")

    run: Callable[[], None] = round_trip
    run()


@settings(max_examples=60, deadline=None)
@given(prompts)
def test_a_prompt_keeps_its_digest(prompt: Prompt) -> None:
    assert decode(Prompt, encode(prompt)).digest == prompt.digest


def test_sets_are_written_sorted() -> None:
    names = [f"variable_{i}" for i in range(20)]
    one = Prompt.of("x").messages
    texts_ = {encode(Prompt(one, contract=Contract(frozenset(order)))) for order in (names, names[::-1])}
    assert len(texts_) == 1
    assert json.loads(texts_.pop())["contract"]["variables"] == sorted(names)


def test_unicode_stays_readable_in_the_database() -> None:
    assert dumps({"a": "Grüße 🦊"}) == '{"a":"Grüße 🦊"}'


def test_a_field_of_a_newer_version_is_left_aside() -> None:
    text = json.dumps({"id": "1", "inputs": {"a": 1}, "invented_later": True})
    assert decode(Example, text) == Example("1", {"a": 1})


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"id": 3}'])
def test_text_that_is_no_record_is_one_clear_line(text: str) -> None:
    with pytest.raises(StoreError, match="stored Example can not be read") as caught:
        decode(Example, text)
    assert "\n" not in str(caught.value)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="not a JSON value"):
        encode(Example("1", {"a": object()}))
