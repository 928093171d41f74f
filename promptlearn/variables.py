"""Variables in prompts: `{name}` or `{{name}}`, found and replaced in one pass over the original text.

Knows nothing about examples or models. A brace that does not enclose a single identifier is plain text, so JSON in
a prompt stays as it is, and values are never scanned again, so braces in data stay data (invariant 12).
"""

import re
from collections.abc import Collection, Mapping

_VARIABLE = re.compile(r"\{\{[ \t]*([^\W\d]\w*)[ \t]*\}\}|\{([^\W\d]\w*)\}")


def find_variables(text: str) -> tuple[str, ...]:
    """The names in `text` that look like variables, each once, in order of appearance."""
    return tuple(dict.fromkeys(match[1] or match[2] for match in _VARIABLE.finditer(text)))


def substitute(text: str, values: Mapping[str, str]) -> str:
    """Replace each variable that `values` knows; leave every other character alone."""
    return _VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), text)


def mark_variables(text: str, names: Collection[str]) -> dict[str, int]:
    """How often each of `names` stands in `text` as a variable (zero where it does not)."""
    counts = dict.fromkeys(names, 0)
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if name in counts:
            counts[name] += 1
    return counts
