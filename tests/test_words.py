"""Words, in every script."""

import pytest

from promptlearn.words import count_words, words_in


@pytest.mark.parametrize(
    ("text", "count", "words"),
    [
        ("Answer with one word.", 4, ["Answer", "with", "one", "word"]),
        ("Schreib „Grüße“ – immer.", 4, ["Schreib", "Grüße", "immer"]),
        ("只写标签。", 2, ["只写", "写标", "标签"]),
        ("用 JSON回答，不要解释", 5, ["用", "JSON", "回答", "不要", "要解", "解释"]),
        ("답은 한 단어로.", 3, ["답은", "한", "단어로"]),
        ("", 0, []),
    ],
)
def test_two_letters_of_a_script_without_spaces_are_a_word(text: str, count: int, words: list[str]) -> None:
    assert count_words(text) == count
    assert words_in(text) == words
