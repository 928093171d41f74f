"""Run ids: 26 characters that sort by time (a ULID: 48 bits of milliseconds, 80 random bits, Crockford's base 32).

Format: https://github.com/ulid/spec, written in lower case.
"""

import secrets
import time
from threading import Lock

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LENGTH = 26
_lock = Lock()
_last = 0


def new_id() -> str:
    """An id greater than every one that this process made before, also within a millisecond."""
    global _last
    with _lock:
        now = (time.time_ns() // 1_000_000) << 80
        _last = max(now | secrets.randbits(80), _last + 1)
        number = _last
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
