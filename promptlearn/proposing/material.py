"""What a meta-prompt may show of a brief, as plain texts: mistakes, kept rows, reviews, answers, and the contract.

Knows briefs; knows nothing about models or templates. Every text is unfenced: fencing is `MetaPrompt.messages`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from math import ceil

from promptlearn.hidden import visible
from promptlearn.proposing.answers import answer_set
from promptlearn.proposing.base import Brief
from promptlearn.records import Example, FailureMode, Prompt, Review, as_text
from promptlearn.tokens import estimate_tokens
from promptlearn.variables import mark_variables
from promptlearn.words import count_words

_KEPT = 4
_FIELD = 300
"""Characters of one field of a kept row."""
_REVIEW = 600
_WORDS_PER_TOKEN = 0.7
_LEAST_WORDS = 200
_GROWTH = 1.5


def material(brief: Brief, modes: Sequence[FailureMode], turn: int = 0) -> dict[str, str]:
    """The texts for one call, by the name that a template knows them by; empty where there is nothing to show.

    `turn` says which of the reviews, where one request can not hold them all.
    """
    parent = brief.parent
    schema = parent.contract.output_schema
    return {
        "prompt": parent.text,
        "wish": brief.wish,
        "rules": "\n".join(f"{i}. {rule.text}" for i, rule in enumerate(parent.rules, 1)),
        "modes": "\n\n".join(_mistake(i, mode) for i, mode in enumerate(modes, 1)),
        "kept": "\n\n".join(_row(example) for example in brief.kept[:_KEPT]),
        "reviews": _reviews(brief, turn),
        "answers": "\n".join(answer_set(brief.train)),
        "variables": "\n".join(own_variables(parent)),
        "locked": "\n\n".join(span for span in parent.contract.locked if span in stated(parent)),
        "output_schema": json.dumps(schema, ensure_ascii=False) if schema else "",
    }


def shown_reviews(brief: Brief, turn: int = 0) -> list[Review]:
    """The approved reviews that one request shows: all of them where they fit the token budget.

    Otherwise they are dealt out, each group with some of the best supported, and the turns of one proposal show one
    group after the other.
    """
    approved = [review for review in brief.reviews if review.state == "approved"]
    costs = [estimate_tokens(_said(review)) for review in approved]
    count = max(1, ceil(sum(costs) / brief.feedback_tokens))
    while count < len(approved) and any(sum(costs[at::count]) > brief.feedback_tokens for at in range(count)):
        count += 1
    return approved[(brief.seed + turn) % count :: count]


def _reviews(brief: Brief, turn: int) -> str:
    shown = shown_reviews(brief, turn)
    left = sum(review.state == "approved" for review in brief.reviews) - len(shown)
    note = [f"[+{left} more comments, not shown here]"] if left else []
    return "\n".join([*map(_said, shown), *note])


def _said(review: Review) -> str:
    return f"- {review_text(review)}"


def shares(brief: Brief, count: int) -> list[tuple[tuple[FailureMode, ...], ...]]:
    """What each of `count` drafts is about, in groups that fit a request each: the first is about all of them.

    Of one group, each further draft sees a single mode in turn; of several, every other one, so that a draft that does
    harm takes down only half of what was learned.
    """
    groups = brief.groups or (brief.modes,)
    if len(groups) == 1:
        return [(_focus(groups[0], draft),) for draft in range(count)]
    return [groups if draft == 0 else groups[(draft - 1) % 2 :: 2] for draft in range(count)]


def _focus(modes: tuple[FailureMode, ...], draft: int) -> tuple[FailureMode, ...]:
    if draft == 0 or len(modes) < 2:
        return modes
    return (modes[(draft - 1) % len(modes)],)


def fewer(modes: Sequence[FailureMode]) -> tuple[FailureMode, ...]:
    """The more frequent half of the modes."""
    return tuple(modes[: (len(modes) + 1) // 2])


def stated(parent: Prompt) -> str:
    """The learned text with its rules, without demonstrations."""
    return replace(parent, demonstrations=()).learned_text()


def own_variables(parent: Prompt) -> list[str]:
    """The contract's variables in the learned text, as they are written there."""
    names = sorted(parent.contract.variables)
    return [f"{{{name}}}" for name, count in mark_variables(stated(parent), names).items() if count]


def room(parent: Prompt) -> int:
    """How many words a rewritten text may have, so that it keeps the contract and does not swell."""
    words = max(_LEAST_WORDS, int(_GROWTH * count_words(parent.learned_text())))
    cap = parent.contract.max_tokens
    if cap is None:
        return words
    shown = [demo.output + " ".join(as_text(value) for value in demo.inputs.values()) for demo in parent.demonstrations]
    free = cap - sum(map(estimate_tokens, shown))
    return max(1, min(words, int(free * _WORDS_PER_TOKEN)))


def _mistake(number: int, mode: FailureMode) -> str:
    times = "once" if len(mode.examples) == 1 else f"{len(mode.examples)} times"
    lines = [f"Mistake {number} ({times}): {mode.title}"]
    if mode.expected:
        lines.append(f"Right would be: {mode.expected}")
    lines += [f"Advice: {text}" for text in mode.suggestions]
    lines += [quote if quote.startswith("[+") else f"Example:\n{quote}" for quote in mode.evidence]
    return "\n".join(lines)


def _row(example: Example) -> str:
    shown = [f"{name}: {_short(as_text(value), _FIELD)}" for name, value in example.inputs.items()]
    if example.expected is not None:
        shown.append(f"right answer: {_short(as_text(example.expected), _FIELD)}")
    return "\n".join(shown)


def review_text(review: Review) -> str:
    """What a reviewer said and suggested, on one line."""
    said = review.body if review.suggestion is None else f"{review.body} Suggested: {review.suggestion}"
    return _short(" ".join(visible(said).split()), _REVIEW)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} […{len(text) - length} characters left out]"
