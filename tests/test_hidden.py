"""One definition of characters that a reader does not see (invariants 6 and 9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.hidden import find_hidden, name_character, visible

PIECES = [*"a1#é❤👩💻🏴‍‌क्षسﮐ\ufe0e\ufe0f\u20e3\u2800\u200b\u061c\u3164 \n", "\U000e0067", "\U000e007f", "‼"]


@pytest.mark.parametrize(
    "text",
    [
        "Grüße an Łukasz, 東京 and Δ; naïve – “quoted” … 5 €",
        "def f(x):\n\treturn {x}\r\n",
        "👩\u200d💻 👨\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 ❤\ufe0f\u200d🔥 🧑🏽\u200d🚀",
        "❤\ufe0f ©\ufe0f ↔\ufe0f 1\ufe0f\u20e3 #\ufe0f\u20e3 ‼\ufe0f ℹ\ufe0e 🇩🇪",
        "می\u200cخواهم",
        "क्\u200dष क्\u200cष",
        "\u06dd١",
        "e\u0301 ก็ שָׁלוֹם",
    ],
)
def test_honest_writing_stays(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("be\u200bkind", "bekind"),
        ("a\u200db", "ab"),
        ("\u202eabc\u2066", "abc"),
        ("x\U000e0041\U000e0000\U000e0fff", "x"),
        ("🏴\U000e0067\U000e0062\U000e007f", "🏴"),
        ("a\ufe0f1\ufe0f❤\ufe0f\ufe0f", "a1❤\ufe0f"),
        ("a\ufe00\U000e0100", "a"),
        ("\x1b[0m\x00\x07\x85", "[0m"),
        ("\ue000\U000f0000\ud800\ufffe\ufdd0", ""),
        ("\u3164\u2800\u115f\u2028\u00ad\ufeff", ""),
        ("👩\u200d\u200b💻", "👩💻"),
        ("\u061c\u200cس", "س"),
    ],
)
def test_hidden_characters_go(text: str, seen: str) -> None:
    assert visible(text) == seen


@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_what_is_visible_is_all_visible(text: str) -> None:
    seen = visible(text)
    assert visible(seen) == seen
    assert list(find_hidden(seen)) == []
    assert len(seen) == len(text) - len(list(find_hidden(text)))


def test_a_character_has_a_name() -> None:
    assert name_character("\u200b") == "U+200B ZERO WIDTH SPACE"
    assert name_character("\x1b") == "U+001B control character"
