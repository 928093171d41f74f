"""Suggested changes: what stands in the block, and which lines it replaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.comments import Suggestion
from promptlearn.forge.suggestions import new_lines, read_suggestions

HUNK = "@@ -10,4 +20,5 @@ def greet():\n unchanged\n-old line\n+new line\n+second\n \n\\ No newline at end of file"


def test_a_suggestion_replaces_the_lines_that_are_commented_on() -> None:
    body = "Kinder:\n```suggestion\nBe kind.\nAlways.\n```\nThanks!"
    assert read_suggestions(body, HUNK, 21, 22) == (Suggestion("Be kind.\nAlways.\n", "new line\nsecond\n"),)


def test_without_a_first_line_it_replaces_the_last() -> None:
    assert read_suggestions("```suggestion\nx\n```", HUNK, None, 22)[0].before == "second\n"


def test_an_empty_block_deletes_and_a_blank_line_is_a_line() -> None:
    assert read_suggestions("```suggestion\n```", HUNK, None, 21) == (Suggestion("", "new line\n"),)
    assert read_suggestions("```suggestion\n\n```", HUNK, None, 21)[0].after == "\n"


def test_lines_that_the_hunk_does_not_show_are_not_invented() -> None:
    assert read_suggestions("```suggestion\nx\n```", HUNK, 19, 21)[0].before is None
    assert read_suggestions("```suggestion\nx\n```", "", 3, 3)[0].before is None
    assert read_suggestions("```suggestion\nx\n```")[0].before is None


def test_a_block_may_hold_shorter_fences_and_several_may_stand_in_one_comment() -> None:
    body = "````suggestion\n```yaml\na: 1\n```\n````\r\nor\r\n~~~ suggestion \r\nb: 2\r\n~~~"
    assert [one.after for one in read_suggestions(body)] == ["```yaml\na: 1\n```\n", "b: 2\n"]


@pytest.mark.parametrize(
    "body",
    [
        "```python\nsuggestion\n```",
        "```suggestions\nx\n```",
        "text ```suggestion x```",
        "    ```suggestion\n    indented code\n    ```",
        "```\n```suggestion\nstill in the first block\n```",
    ],
)
def test_what_only_looks_like_a_suggestion_is_none(body: str) -> None:
    assert read_suggestions(body, HUNK, 21, 21) == ()


def test_an_unclosed_block_reaches_to_the_end() -> None:
    assert read_suggestions("```suggestion\na\nb")[0].after == "a\nb\n"


def test_gitlab_s_ranges_count_from_the_commented_line() -> None:
    assert read_suggestions("```suggestion:-1+1\nx\n```", HUNK, None, 21)[0].before == "unchanged\nnew line\nsecond\n"


def test_a_hunk_numbers_the_new_file_s_lines() -> None:
    assert new_lines(HUNK) == {20: "unchanged", 21: "new line", 22: "second", 23: ""}
    assert new_lines("no hunk") == {}


@given(
    st.lists(st.text(st.characters(exclude_characters="`\r\n", exclude_categories=["Cs"])), max_size=5),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_suggested_comes_out_as_it_went_in(lines: list[str], end: str) -> None:
    """Invariant 12."""
    body = end.join(["```suggestion", *lines, "```"])
    assert read_suggestions(body) == (Suggestion("".join(f"{line}\n" for line in lines)),)
