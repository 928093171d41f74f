"""Approved comments as the reviews that a run learns from: one for each statement, with all that say the same.

Knows stored comments and examples; no store and no proposer. Nothing gets through here that is not approved in its
present words and by somebody who is trusted (invariant 9).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from promptlearn.comments import Comment
from promptlearn.feedback.survey import Entry, survey
from promptlearn.records import Example, Review, as_text
from promptlearn.reviews import path_matches
from promptlearn.store.feedback_rows import FeedbackRow

_TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".yaml", ".yml"})
_SHORTEST = 12
"""Characters below which an input is found in too many rows."""
_WORD = re.compile(r"\w+")
_BEGINS = re.compile(r"\A\s*(?:-\s|\{)")
"""How an item of a YAML list or an object of a JSON list begins."""


def approved_reviews(
    rows: Iterable[FeedbackRow],
    repo: str | None = None,
    paths: Collection[str] = (),
    examples: Sequence[Example] = (),
) -> tuple[Review, ...]:
    """Reviews, those with most support first; the oldest comment speaks for all that say the same.

    `repo` (`owner/name`) and `paths` narrow comments down; rules that a person added without a repository count
    everywhere. A comment on a row of a table whose inputs are an example's names that example.
    """
    wanted = [row for row in rows if row.usable and _is_wanted(row.received.comment, repo, paths)]
    entries = survey(wanted)
    by_ref = {entry.ref: entry for entry in entries}
    speakers = sorted((entry for entry in entries if entry.speaker == entry.ref), key=_weight)
    return tuple(_review([by_ref[ref] for ref in entry.same], examples) for entry in speakers)


def commented_examples(comment: Comment, examples: Sequence[Example]) -> tuple[str, ...]:
    """Ids of the examples whose inputs all stand in the commented lines of a table of examples."""
    if comment.path is None or PurePosixPath(comment.path).suffix.lower() not in _TABLES:
        return ()
    said = f" {_words(_commented(comment))} "
    return tuple(example.id for example in examples if _stands_in(example, said))


def _weight(entry: Entry) -> tuple[int, int]:
    """Stable: what is otherwise equal stays in the order in which it was said."""
    return (-entry.support.count, -entry.support.reactions) if entry.support else (0, 0)


def _is_wanted(comment: Comment, repo: str | None, paths: Collection[str]) -> bool:
    if repo and comment.repo and comment.repo.casefold() != repo.casefold():
        return False
    return not paths or comment.path is None or any(path_matches(comment.path, glob) for glob in paths)


def _review(said: Sequence[Entry], examples: Sequence[Example]) -> Review:
    first, *others = (entry.row.review() for entry in said)
    found = [id for entry in said for id in commented_examples(entry.row.received.comment, examples)]
    return replace(
        first,
        sources=tuple(dict.fromkeys(other.url or other.id for other in others)),
        examples=tuple(dict.fromkeys(found)),
    )


def _commented(comment: Comment) -> str:
    """The commented lines of the hunk; where a row has several lines, those of the row that come before."""
    lines = [line[1:] for line in comment.hunk.splitlines() if line[:1] in (" ", "+")]
    if not lines:
        return ""
    last, first = comment.original_line, comment.original_start_line
    count = last - first + 1 if last is not None and first is not None and last >= first else 1
    start = max(0, len(lines) - count)
    if PurePosixPath(comment.path or "").suffix.lower() in (".yaml", ".yml", ".json"):
        while start > 0 and not _BEGINS.match(lines[start]):
            start -= 1
    return "\n".join(lines[start:])


def _stands_in(example: Example, said: str) -> bool:
    texts = [_words(as_text(value)) for value in example.inputs.values()]
    return sum(map(len, texts)) >= _SHORTEST and all(f" {text} " in said for text in texts if text)


def _words(text: str) -> str:
    return " ".join(_WORD.findall(text.replace("\\n", " ").casefold()))
