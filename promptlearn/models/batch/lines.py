"""The files of a batch: one line of JSON per request, and one per answer.

Knows the form of a line and nothing of HTTP. Form: https://platform.openai.com/docs/api-reference/batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from promptlearn.records import Json

PATH: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MOST_REQUESTS = 50_000
"""Requests in one batch, as OpenAI allows."""
MOST_BYTES = 200_000_000
"""Bytes in one file of requests, as OpenAI allows."""

_NOT_EXECUTED = frozenset({"batch_expired", "batch_cancelled"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one line says about one request."""

    key: str
    status: int | None
    """As a direct call would have been answered; None: the request was not executed, and is not paid for."""
    body: str = ""


def write_line(key: str, body: Mapping[str, Json]) -> bytes:
    """One request, with its line end."""
    line = {"custom_id": key, "method": "POST", "url": PATH, "body": body}
    return json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"


def read_line(raw: bytes) -> Answer | None:
    """The answer on a line, or None for a line that holds none."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return None
    key, response, error = line["custom_id"], line.get("response"), line.get("error")
    if isinstance(response, dict) and isinstance(response.get("status_code"), int):
        return Answer(key, response["status_code"], json.dumps(response.get("body")))
    if isinstance(error, dict):
        executed = error.get("code") not in _NOT_EXECUTED
        return Answer(key, 500 if executed else None, json.dumps({"error": error}))
    return None


def pack(lines: Iterable[bytes], requests: int, size: int = MOST_BYTES) -> Iterator[list[bytes]]:
    """The lines in groups of at most `requests` lines and `size` bytes; a longer line has a group of its own."""
    group: list[bytes] = []
    room = size
    for line in lines:
        if group and (len(group) == requests or len(line) > room):
            yield group
            group, room = [], size
        group.append(line)
        room -= len(line)
    if group:
        yield group
