"""Variables are found and replaced in one pass; everything else in a text is data (invariant 12)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.variables import find_variables, mark_variables, substitute

names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
texts = st.text(alphabet=st.sampled_from(list('ab {}"$\\\n:,é字')), max_size=30)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Answer {question} for {{ customer }}.", ("question", "customer")),
        ("{b} {a} {b}", ("b", "a")),
        ('{"label": "x"} {} {0} { a } {a b} {{', ()),
        ("{{{a}}}", ("a",)),
        ("{größe} {名前}", ("größe", "名前")),
    ],
)
def test_a_single_identifier_in_braces_is_a_variable(text: str, found: tuple[str, ...]) -> None:
    assert find_variables(text) == found


@given(texts, names, texts, texts)
def test_values_are_never_scanned_again(before: str, name: str, value: str, after: str) -> None:
    """Invariant 12: braces in data stay data, also where they spell the variable itself."""
    template = f"{before}\n{{{name}}}\n{after}"
    rendered = substitute(template, {name: value + "{" + name + "}"})
    assert f"\n{value}{{{name}}}\n" in rendered


@given(texts)
def test_without_values_nothing_changes(text: str) -> None:
    """Invariant 12."""
    assert substitute(text, {}) == text
    assert substitute(text, dict.fromkeys(find_variables(text), "")).count("{") <= text.count("{")


def test_marks_count_each_variable() -> None:
    assert mark_variables("{a} {{a}} {b}", ["a", "c"]) == {"a": 2, "c": 0}
