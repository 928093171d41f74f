"""`reviews`: which reviewers' comments a run learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, Field

from promptlearn.config.section import Section


class ReviewsConfig(Section):
    """Comments that were approved in the store; `reviews: store` is all of them."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    source: Literal["store"] = Field("store", alias="from")
    """Where they are."""
    repo: str | None = None
    """OWNER/REPO that they were said in; by default any. Rules that were added by hand count everywhere."""
    paths: tuple[str, ...] = ()
    """Files that they were said about (`*`, `**`, `?`), such as 'prompts/**'; by default any. What was said about no
    file counts too."""
    auto_approve: Literal["trusted"] | None = None
    """`trusted` allows `promptlearn feedback approve --auto-approve trusted`, which approves what looks like a rule by
    people with write permission without anybody reading it."""


def stated_reviews(folder: Path) -> dict[str, Any]:
    """What a promptlearn.yaml in a folder says about `reviews: {from: store, …}`; nothing where it says nothing."""
    try:
        content = yaml.safe_load((folder / "promptlearn.yaml").read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    reviews = content.get("reviews") if isinstance(content, dict) else None
    return reviews if isinstance(reviews, dict) else {}


def from_store(value: Any) -> Any:
    """`reviews: store` is a section with its defaults."""
    return {"from": "store"} if value == "store" else value
