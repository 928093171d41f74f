"""Takes secrets out of text that a person, a log, a store or a judge may see (invariant 10).

Knows what secrets look like, not where they come from. Whoever holds a key passes it in `secrets`, so that a key of an
unknown shape is found too. Redact first and shorten afterwards: half a key matches no pattern.
"""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

REDACTED = "[redacted]"
_SHORTEST = 4
"""A shorter value is a placeholder such as `x`, and replacing it would shred the text around it."""

_NAMED = (
    r"(?:[a-z0-9]+[-_])*"
    r"(?:api[-_]?key|key|token|secret|password|passwd|signature|sig|access[-_]?token|client[-_]?secret)"
)
# None looks for a far mark from every place where it could begin: that takes minutes for a long text of dots or dashes.
_PATTERNS = (
    # user:password@ in a URL
    (re.compile(r"(?i)(?<=[a-z0-9+.-])(://)[^\s/?#@\"'<>]+@"), rf"\g<1>{REDACTED}@"),
    # ?key=… and &access_token=… in a URL or a form
    (re.compile(rf"(?i)([?&;]{_NAMED}=)[^&\s\"'#;<>]+"), rf"\g<1>{REDACTED}"),
    # headers and JSON members that carry credentials
    (
        re.compile(
            r"(?i)((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?:(bearer|basic|token|digest)\s+)?[^\s\"',;}]+",
        ),
        rf"\g<1>{REDACTED}",
    ),
    (re.compile(r"(?i)((?:x-)?(?:api[-_]key|access[-_]token)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;}]+"), rf"\g<1>{REDACTED}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=*-]{8,}"), rf"\g<1>{REDACTED}"),
    # keys that announce themselves
    (re.compile(r"\b[sprk]{2}[-_](?=[\w*-]{0,255}[\d*])[\w*-]{6,}"), REDACTED),
    (re.compile(r"\bsk-[\w*-]{6,}"), REDACTED),
    (re.compile(r"\b(?:gh[opsur]|glpat|hf|npm|pypi)[-_][\w-]{10,}|\bgithub_pat_\w{10,}"), REDACTED),
    (re.compile(r"\bxox[a-z]-[\w-]{8,}|\bAKIA[0-9A-Z]{12,}|\bAIza[\w-]{20,}"), REDACTED),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
)


def redact(text: str, secrets: Iterable[str | None] = ()) -> str:
    """`text` with every secret replaced by `[redacted]`: the given values in all their spellings, and known shapes.

    Idempotent. Values of fewer than four characters are left alone.
    """
    for spelling in _spellings(secrets):
        text = text.replace(spelling, REDACTED)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _spellings(secrets: Iterable[str | None]) -> list[str]:
    """Each value as it is, percent-encoded, JSON-escaped and in base64; the longest first, as one may hold another."""
    found: set[str] = set()
    for secret in secrets:
        if secret is None or len(secret.strip()) < _SHORTEST:
            continue
        plain = secret.strip()
        raw = plain.encode("utf-8", "surrogatepass")
        encoded = base64.b64encode(raw).decode("ascii")
        found |= {plain, quote(raw, safe=""), plain.encode("unicode_escape").decode("ascii"), encoded}
    return sorted(found, key=lambda spelling: (-len(spelling), spelling))
