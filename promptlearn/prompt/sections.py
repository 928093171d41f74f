"""One text for the prompts of several predictors: a heading per predictor, its instructions below.

    # predictor: summarise
    Say what the article is about.

    # predictor: answer
    Answer from the summary alone.

Knows text alone. The text of a single predictor has no heading. Headings are locked in the contract, so that no rewrite
loses a predictor (invariant 6).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from promptlearn.errors import PromptError

_HEADING = re.compile(r"^# predictor: (.+?)[ \t]*$", re.MULTILINE)


def heading(name: str) -> str:
    return f"# predictor: {name}"


def join_sections(instructions: Mapping[str, str]) -> str:
    """The text that `split_sections` takes apart again."""
    if len(instructions) == 1:
        return next(iter(instructions.values()))
    return "\n\n".join(f"{heading(name)}\n{text}" for name, text in instructions.items())


def split_sections(text: str, names: Sequence[str]) -> dict[str, str]:
    """Predictor → instructions, in the order of `names`.

    Raises PromptError for a predictor whose heading is missing or there twice, and for one that is none of `names`.
    """
    if len(names) == 1:
        return {names[0]: text}
    headings = list(_HEADING.finditer(text))
    found = Counter(match[1] for match in headings)
    wrong = [name for name in [*names, *found] if (name in names) != (found[name] == 1)]
    if wrong:
        raise PromptError(
            f"the prompt has {found[wrong[0]]} headings `{heading(wrong[0])}`; it needs one each for {', '.join(names)}"
        )
    ends = [*(match.start() for match in headings[1:]), len(text)]
    sections = {match[1]: text[match.end() : end].strip() for match, end in zip(headings, ends, strict=True)}
    return {name: sections[name] for name in names}
