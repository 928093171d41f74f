import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.redaction import REDACTED, redact

LOOKALIKES = [
    "sk-proj-abcDEF123456_7890",
    "sk-ab***********wxyz",
    "ghp_0123456789abcdefghijABCDEFGHIJ",
    "github_pat_11ABCDEFG0123456789_abc",
    "hf_abcdefghijklmnopqrst",
    "xoxb-123456789-abcdefgh",
    "AKIAIOSFODNN7EXAMPLE",
    "AIzaSyA1234567890abcdefghijk",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc_def",
]


@pytest.mark.parametrize("secret", LOOKALIKES)
@pytest.mark.parametrize("around", ["{}", "Incorrect API key provided: {}.", '{{"key": "{}"}}', "a\n{}\nb"])
def test_known_shapes_are_taken_out(secret: str, around: str) -> None:
    """Invariant 10."""
    cleaned = redact(around.format(secret))
    assert secret not in cleaned
    assert REDACTED in cleaned


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz'}", "dXNlcjpwYXNz"),
        ('"authorization":"token 0123abcd"', "0123abcd"),
        ("x-api-key: 0123abcd", "0123abcd"),
        ("got bearer 0123abcd4567", "0123abcd4567"),
        ("https://host/v1?key=0123abcd&x=1", "0123abcd"),
        ("https://host/v1?x=1&access_token=0123abcd", "0123abcd"),
        ("postgresql://user:pass@word@db/x", "pass"),
        ("https://token0123@host/v1", "token0123"),
    ],
)
def test_places_where_credentials_stand(text: str, secret: str) -> None:
    """Invariant 10."""
    assert secret not in redact(text)


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_a_given_value_never_survives(secret: str, before: str, after: str) -> None:
    """Invariant 10, for keys of any shape and in any spelling."""
    encoded = base64.b64encode(secret.encode()).decode()
    for spelling in (secret, quote(secret, safe=""), encoded):
        cleaned = redact(f"{before} {spelling} {after}", [secret])
        assert secret not in cleaned.replace(REDACTED, "")
        assert redact(cleaned, [secret]) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "The task-key is a noun, the monkey sk-ips.",
        "http://host:8000/v1",
        "risk-averse-language",
        "key points: a, b",
        "",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text, ["", None, "a"]) == text


@pytest.mark.parametrize("piece", ["a.", "a-", "sk-", "eyJabcdefgh.", "?a-", "bearer ", "authorization: ", "a://"])
def test_a_long_text_is_soon_read(piece: str) -> None:
    """Logs and answers that repeat themselves are redacted in the event loop."""
    began = time.monotonic()
    redact(piece * 30_000, ["0123abcd"])
    assert time.monotonic() - began < 5
