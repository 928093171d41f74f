"""Code judges: the score, and the words that go with it (invariants 4 and 11)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import ConfigError, DataError
from promptlearn.judging import Contains, ExactMatch, JsonSchema, Judge, LabelSet, NormalizedMatch, Numeric, Regex
from promptlearn.judging.normal import normalise
from promptlearn.records import Example, Rollout, Verdict

LABELS = ("billing", "shipping", "returns", "account", "technical", "other")


def example(expected: Any = None, row: str = "e1") -> Example:
    return Example(id=row, inputs={"message": "Where is my parcel?"}, expected=expected)


async def verdict(judge: Judge, output: str, expected: Any = None) -> Verdict:
    given_verdict = await judge.judge(example(expected), Rollout(prompt="p", example="e1", output=output))
    assert given_verdict.rollout == "p/e1"
    assert given_verdict.name == judge.name
    assert given_verdict.explanation
    assert given_verdict.kind == "code"
    return given_verdict


@pytest.mark.parametrize(
    "output", ["shipping", " Shipping.\n", "`shipping`", '"SHIPPING"', "**shipping**", "“shipping”!"]
)
async def test_label_set_knows_a_label_in_any_dress(output: str) -> None:
    judged = await verdict(LabelSet(LABELS), output, "shipping")
    assert (judged.score, judged.label, judged.passed) == (1.0, "right", True)


async def test_label_set_names_the_confusion() -> None:
    judged = await verdict(LabelSet(LABELS), "billing", "shipping")
    assert (judged.score, judged.label, judged.suggestion) == (0.0, "wrong:shipping→billing", None)
    assert judged.explanation == "expected `shipping`, got `billing`"


async def test_label_set_says_what_is_no_label() -> None:
    judged = await verdict(LabelSet(LABELS), "I am sorry to hear about that", "shipping")
    assert (judged.score, judged.label, judged.passed) == (0.0, "not_a_label", False)
    assert judged.explanation == ("expected `shipping`, got 'I am sorry to hear about that': not one of the six labels")
    assert judged.suggestion == (
        "Answer with exactly one of these labels and nothing else: "
        "account, billing, other, returns, shipping, technical."
    )


async def test_label_set_notes_labels_among_other_words() -> None:
    judged = await verdict(LabelSet(LABELS), "The label is shipping, not billing.", "shipping")
    assert judged.label == "not_a_label"
    assert "it mentions `billing`, `shipping`" in judged.explanation
    assert "mentions" not in (await verdict(LabelSet(("a", "b")), "a banana", "b")).explanation.replace(
        "mentions `a`", ""
    )


async def test_an_empty_output_is_judged_and_said_to_be_empty() -> None:
    judged = await verdict(LabelSet(LABELS), "  \n", "shipping")
    assert judged.label == "not_a_label"
    assert "got an empty text" in judged.explanation


def test_label_set_refuses_data_that_it_does_not_know() -> None:
    examples = [example("shipping"), example("shiping", "e2"), example("shiping", "e3")]
    with pytest.raises(DataError, match=r"'shiping' \(2 examples\).*billing"):
        LabelSet(LABELS).check(examples)
    with pytest.raises(DataError, match=r"1 of 1 examples have no expected answer \(first: e1\)"):
        LabelSet(LABELS).check([example()])


@pytest.mark.parametrize("labels", [(), ("Yes", "yes"), ("a", "a."), ("",), "abc"])
def test_label_set_refuses_labels_that_it_can_not_tell_apart(labels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="judge label_set"):
        LabelSet(labels)


async def test_labels_need_not_be_text() -> None:
    assert (await verdict(LabelSet(("0", "1")), "1", 1)).score == 1.0


async def test_exact_match_is_exact_and_explains_the_difference() -> None:
    assert (await verdict(ExactMatch(), "42 kg", "42 kg")).score == 1.0
    dressed = await verdict(ExactMatch(), "'42 KG'\n", "42 kg")
    assert (dressed.score, dressed.label) == (0.0, "dressed")
    assert "the same but for case" in dressed.explanation
    assert dressed.suggestion is not None
    wrong = await verdict(ExactMatch(), "43 kg", "42 kg")
    assert (wrong.label, wrong.suggestion, wrong.explanation) == ("wrong", None, "expected `42 kg`, got '43 kg'")


async def test_normalized_match() -> None:
    assert (await verdict(NormalizedMatch(), '"Paris".', "paris")).score == 1.0
    among = await verdict(NormalizedMatch(), "The capital is Paris, of course.", "paris")
    assert (among.score, among.label) == (0.0, "dressed")
    assert "stands in it among other words" in among.explanation
    assert (await verdict(NormalizedMatch(), "comparison", "paris")).label == "wrong"


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet="\"'`*“”.!? aZé\n", max_size=12))
def test_normalising_twice_changes_nothing_on_punctuation(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(min_size=1).filter(str.strip))
async def test_normalising_judges_agree_with_themselves(text: str) -> None:
    for dressed in (text, f"  {text}\n", f"`{text}`", f'"{text}"'):
        assert normalise(dressed) == normalise(text) or not normalise(text)
        assert (await verdict(NormalizedMatch(), text, text)).passed
        assert (await verdict(LabelSet((text,)), text, text)).label == "right"


async def test_regex_explains_with_its_meaning() -> None:
    judge = Regex(r"\b[A-Z]-\d{4}\b", meaning="an order number such as A-1234")
    right = await verdict(judge, "Your order A-1234 has left.")
    assert (right.score, right.explanation[:18]) == (1.0, "'A-1234' matches a")
    wrong = await verdict(judge, "Your order has left.")
    assert wrong.label == "no_match"
    assert wrong.suggestion == "Every answer has to contain an order number such as A-1234."
    assert (await verdict(Regex("a+", full=True), " aaa\n")).score == 1.0
    assert (await verdict(Regex("a+", full=True), "aab")).score == 0.0
    with pytest.raises(ConfigError, match="no regular expression"):
        Regex("(")


async def test_contains_scores_the_share_and_names_what_is_missing() -> None:
    judged = await verdict(Contains(("refund", "5 days")), "You get a REFUND.")
    assert (judged.score, judged.passed, judged.label) == (0.5, False, "missing")
    assert judged.explanation == "`5 days` missing from 'You get a REFUND.'"
    assert (await verdict(Contains("refund"), "refund")).passed
    assert (await verdict(Contains(("Refund",), ignore_case=False), "refund")).score == 0.0


async def test_contains_looks_for_what_the_example_expects() -> None:
    judge = Contains()
    assert (await verdict(judge, "blue and red", ["red", "blue"])).score == 1.0
    assert (await verdict(judge, "red", "green")).suggestion is None
    nothings: tuple[Any, ...] = (None, "", [])
    for nothing in nothings:
        with pytest.raises(DataError, match="judge contains"):
            judge.check([example(nothing)])
    with pytest.raises(ConfigError, match="empty needle"):
        Contains(("",))


SCHEMA = {
    "type": "object",
    "required": ["items"],
    "properties": {
        "items": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}}
    },
}


async def test_json_schema_names_the_failing_path() -> None:
    judge = JsonSchema(SCHEMA)
    assert (await verdict(judge, '{"items": []}')).score == 1.0
    wrong = await verdict(judge, '{"items": [{"price": 1}, {"price": "two"}]}')
    assert (wrong.label, wrong.explanation) == ("invalid", "$.items[1].price: 'two' is not of type 'number'")
    assert wrong.suggestion is not None
    assert "'items' is a required property" in (await verdict(judge, "{}")).explanation


@pytest.mark.parametrize(
    "output", ["Sure! {}", "```json\n{}\n```", "", "{'a': 1}", "[NaN]", "[" * 100_000, "[" + "9" * 5000 + "]"]
)
async def test_what_is_not_json_is_said_to_be_not_json(output: str) -> None:
    judged = await verdict(JsonSchema({"type": "object"}), output)
    assert (judged.score, judged.label) == (0.0, "not_json")
    assert len(judged.explanation) < 400


async def test_json_schema_refuses_a_bad_schema_and_fetches_nothing() -> None:
    with pytest.raises(ConfigError, match=r"`schema` at \$\.type"):
        JsonSchema({"type": "objekt"})
    with pytest.raises(ConfigError, match=r"refers to 'http://127.0.0.1:9/x.json'"):
        await verdict(JsonSchema({"$ref": "http://127.0.0.1:9/x.json"}), "{}")


@pytest.mark.parametrize(
    ("output", "expected", "label"),
    [
        ("42", 42, "right"),
        ("The answer is 1,234.50 €.", "1234.5", "right"),
        ("−3", -3, "right"),
        ("1e3", 1000, "right"),
        (".5", 0.5, "right"),
        ("10-20", 10, "several_numbers"),
        ("about ten", 10, "not_a_number"),
        ("", 10, "not_a_number"),
        ("A4", 4, "not_a_number"),
        ("1e999999999", 4, "not_a_number"),
        ("43", 42, "off"),
    ],
)
async def test_numeric_reads_numbers(output: str, expected: Any, label: str) -> None:
    judged = await verdict(Numeric(), output, expected)
    assert judged.label == label
    assert judged.score == (1.0 if label == "right" else 0.0)


async def test_numeric_tolerances_are_exact_in_decimal() -> None:
    assert (await verdict(Numeric(tolerance=0.1), "1.1", 1.0)).passed
    assert not (await verdict(Numeric(tolerance=0.1), "1.11", 1.0)).passed
    assert (await verdict(Numeric(relative=0.05), "105", 100)).passed
    off = await verdict(Numeric(tolerance=0.5), "44", 42)
    assert off.explanation == "expected 42, got 44: off by 2 (allowed: 0.5)"
    assert (await verdict(Numeric(take="last"), "3 + 4 = 7", 7)).passed
    assert (await verdict(Numeric(take="first"), "3 + 4 = 7", 3)).passed


def test_numeric_refuses_what_is_no_number() -> None:
    for expected in ("ten", True, [1, 2], "1 or 2"):
        with pytest.raises(DataError, match="judge numeric: expected has to be a number"):
            Numeric().check([example(expected)])
    with pytest.raises(ConfigError, match="tolerance is -1"):
        Numeric(tolerance=-1.0)
    with pytest.raises(ConfigError, match="relative is nan"):
        Numeric(relative=float("nan"))
