"""Reviewers' comments from a JSON file, which of them may be used (not what for), and what a pattern of paths means."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from promptlearn.errors import DataError
from promptlearn.records import Review

TRUSTED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""Author associations that stand for write permission."""


class _Comment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    body: str
    author: str = ""
    author_association: str = "NONE"
    state: Literal["pending", "approved", "dismissed"] = "pending"
    path: str | None = None
    suggestion: str | None = None
    url: str | None = None
    created_at: str | None = None


def load_reviews(path: Path) -> tuple[Review, ...]:
    """All comments of the file, in its order. Raises DataError naming the comment and its field."""
    try:
        comments = TypeAdapter(list[_Comment]).validate_python(json.loads(path.read_text(encoding="utf-8-sig")))
    except FileNotFoundError:
        raise DataError(f"no reviews at {path}; give `reviews` an existing JSON file or leave it out") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise DataError(f"{path}: comment {place}: {problem['msg']}; expected a list of comments") from None
        raise DataError(f"{path} is not a JSON list of comments: {error}") from None
    return tuple(
        Review(
            id=comment.id,
            body=comment.body,
            author=comment.author,
            trusted=comment.author_association in TRUSTED,
            state=comment.state,
            path=comment.path,
            suggestion=comment.suggestion,
            url=comment.url,
            created_at=comment.created_at,
        )
        for comment in comments
    )


def usable(reviews: tuple[Review, ...]) -> tuple[Review, ...]:
    """Approved comments by trusted authors: nothing else reaches a prompt (invariant 9)."""
    return tuple(review for review in reviews if review.trusted and review.state == "approved")


def path_matches(path: str, glob: str) -> bool:
    """Whether a pattern means a file: `*` and `?` stay within a folder, `**` does not; a folder means all in it."""
    return bool(path_pattern(glob).fullmatch(path))


@lru_cache(maxsize=256)
def path_pattern(glob: str) -> re.Pattern[str]:
    """What `path_matches` matches with."""
    glob = glob.removeprefix("./")
    glob = f"{glob}**" if glob.endswith("/") else glob
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(known.get(piece) or re.escape(piece) for piece in re.split(r"(\*\*/?|\*|\?)", glob)))
