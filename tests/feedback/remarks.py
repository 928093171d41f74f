"""Comments as a pull leaves them in the store, for tests of what is made of them."""

from __future__ import annotations

from typing import Any

from promptlearn.comments import Author, Comment, Received, Removal
from promptlearn.forge.sanitize import sanitize

HOST = "github.com"


def received(body: str, id: str = "C1", author: str = "ann", pull: int = 1, **more: Any) -> Received:
    """A comment of somebody with write permission, sanitised as a pull does it; `dropped` and fields of `Comment`."""
    clean = sanitize(body)
    dropped = more.pop("dropped", "")
    made: dict[str, Any] = {
        "kind": "inline",
        "repo": "acme/shop",
        "url": f"https://github.com/acme/shop/pull/{pull}#discussion_{id}",
        "association": "MEMBER",
        "created_at": f"2026-06-01T12:{int(id.strip('C') or 0) % 60:02}:00Z",
        "updated_at": "2026-06-01T12:00:00Z",
        "path": "prompts/support.md",
    }
    comment = Comment(id=id, pull=pull, body=body, author=Author(author, f"U_{author}"), **(made | more))
    removals = tuple(Removal(finding.kind, finding.detail) for finding in clean.findings)
    return Received(comment, clean.text, removals, "write", dropped, "head")
