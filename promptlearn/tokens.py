"""How many tokens a text has, without a tokenizer: an estimate for budgets and an upper bound.

Knows no model. Where an endpoint counts, its own count is what reports show; these two serve before a call is made.
"""

import math


def estimate_tokens(text: str) -> int:
    """About how many tokens `text` has: four ASCII characters, or three UTF-8 bytes of anything else, to a token.

    English prose and code come out within some 20 % of current byte-pair tokenizers; Chinese, Japanese and Korean at
    about one token per character; other alphabets somewhat high, which is the safe side for a budget.
    """
    ascii_chars = len(text.encode("ascii", "ignore"))
    other_bytes = token_bound(text) - ascii_chars
    return math.ceil(ascii_chars / 4 + other_bytes / 3)


def token_bound(text: str) -> int:
    """An upper bound: a byte-level tokenizer never makes more tokens than there are UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogatepass"))
