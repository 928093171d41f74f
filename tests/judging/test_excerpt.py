"""What is cut is marked, and what is not cut is the text itself."""

import re

from hypothesis import given
from hypothesis import strategies as st

from promptlearn.judging.excerpt import counted, cut_around, cut_end, cut_middle, quote


@given(st.text(), st.integers(1, 20))
def test_cut_middle_accounts_for_every_character(text: str, limit: int) -> None:
    cut = cut_middle(text, limit)
    if len(text) <= limit:
        assert cut == text
        return
    mark = re.search(r"\n\[… ([\d,]+) characters left out …\]\n", cut)
    assert mark is not None
    kept = len(cut) - len(mark[0])
    assert kept == limit
    assert kept + int(mark[1].replace(",", "")) == len(text)


@given(st.text(alphabet="ab\n"), st.integers(8, 40), st.integers(0, 80))
def test_cut_around_keeps_what_matters_and_accounts_for_every_character(text: str, limit: int, at: int) -> None:
    whole = f"{text[:at]}X{text[at:]}"
    cut = cut_around(whole, limit, re.compile("X"))
    left_out = sum(int(number.replace(",", "")) for number in re.findall(r"\[… ([\d,]+) characters left out …\]", cut))
    assert "X" in cut
    kept = re.sub(r"\n\[… [\d,]+ characters left out …\]\n", "", cut)
    assert len(kept) + left_out == len(whole)
    assert len(kept) <= limit or whole == cut


def test_things_that_stand_apart_share_the_room() -> None:
    """The first, the last and one between, where they are too many."""
    filler = "all is well " * 400
    cut = cut_around(filler.join(["", "ONE", "TWO", "THREE", ""]), 2000, re.compile("ONE|TWO|THREE"))
    assert all(word in cut for word in ("ONE", "TWO", "THREE"))
    assert cut.count("characters left out …]") == 4
    crowd = cut_around(filler.join(["", "ONE", *["TWO"] * 5, "THREE", ""]), 2000, re.compile("ONE|TWO|THREE"))
    assert [crowd.count(word) for word in ("ONE", "TWO", "THREE")] == [1, 1, 1]


def test_things_that_stand_together_have_one_window() -> None:
    cut = cut_around(f"{'-' * 3000}ONE{'+' * 200}TWO{'-' * 3000}", 2000, re.compile("ONE|TWO"))
    assert f"ONE{'+' * 200}TWO" in cut
    assert cut.count("characters left out …]") == 2


def test_cut_end_counts_what_is_missing() -> None:
    assert cut_end("abcdef", 4) == "abcd [… 2 characters left out]"
    assert cut_end("abcd", 4) == "abcd"


def test_quote_is_one_line_and_says_when_it_is_cut() -> None:
    assert quote("I am\n\nsorry") == "'I am sorry'"
    assert quote("I am sorry to hear that", 18) == "'I am sorry to hear…'"


def test_counted() -> None:
    assert [counted(n, "label") for n in (0, 1, 6, 23)] == ["no labels", "one label", "six labels", "23 labels"]
