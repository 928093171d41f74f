"""One text for several prompts, as of a DSPy program's predictors: a heading per prompt, its instructions below.

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


def names_in(text: str) -> tuple[str, ...]:
    """Names of the headings, in order."""
    return tuple(match[1] for match in _HEADING.finditer(text))


def own_section(text: str, name: str) -> str:
    """What a text says for one section: that section where it has headings, and no heading at all."""
    headings = list(_HEADING.finditer(text))
    if not headings:
        return text
    ends = [*(match.start() for match in headings[1:]), len(text)]
    mine = [text[match.end() : end] for match, end in zip(headings, ends, strict=True) if match[1] == name]
    return mine[0].strip() if len(mine) == 1 else _HEADING.sub("", text).strip()


def add_to_section(text: str, name: str, block: str) -> str:
    """The text with a block at the end of one section; at the end of it all where there is no such section."""
    headings = list(_HEADING.finditer(text))
    at = next((place for place, match in enumerate(headings) if match[1] == name), len(headings) - 1)
    if at + 1 >= len(headings):
        return "\n\n".join([text.rstrip("\n"), block])
    end = headings[at + 1].start()
    return "\n\n".join([text[:end].rstrip("\n"), block, text[end:]])
