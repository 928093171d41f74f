"""One text value in a YAML or JSON document, found by its key path and replaced without touching any other character.

Knows nothing about prompts. A key path is `support.system` or `prompts.0.text`; a key that itself holds dots is found
as well. Each replacement is read back before it is returned.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import yaml

from promptlearn.errors import PromptError

Syntax = Literal["yaml", "json"]

_SPACE = re.compile(r"[ \t\r\n]*")
_PROPERTIES = re.compile(r"(?:[&!][^\s,\[\]{}]*\s+)*")
_ANCHOR = re.compile(r"(?:![^\s]*\s+)?&([^\s,\[\]{}]+)")
_HEADER = re.compile(r"[|>][-+0-9]*(?P<comment>[ \t]+#[^\n]*)?[ \t]*(?:\n|\Z)")
_REST_OF_LINE = re.compile(r"(?P<comment>[ \t]+#[^\n]*)?[ \t]*(?=\n|\Z)")
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document."""

    kind: str
    """`text`, `mapping`, `list`, or another scalar's type."""
    start: int
    end: int
    text: str = ""
    children: Mapping[str, "Node"] = field(default_factory=dict)
    """By key, or by index where it is a list."""
    indent: int = 0
    """YAML: the column of the block that it stands in."""


def read_value(text: str, key: str, syntax: Syntax, name: str) -> str:
    """The text under `key`. Raises `PromptError` where there is none."""
    return _find(_parse(text, syntax, name), text, key, name).text


def replace_value(text: str, key: str, new: str, syntax: Syntax, name: str) -> str:
    """The document with `new` under `key`; every character outside of the old value stays."""
    root = _parse(text, syntax, name)
    node = _find(root, text, key, name)
    wanted = _outline(root, node, new)
    variants = _yaml_variants(text, node, new) if syntax == "yaml" else _json_variants(text, node, new)
    for variant in variants:
        try:
            if _outline(_parse(variant, syntax, name)) == wanted:
                return variant
        except PromptError:
            continue
    raise PromptError(f"{name}: the new text can not be written under `{key}`; keep the prompt in a file of its own")


def top_keys(text: str, syntax: Syntax, name: str) -> tuple[str, ...]:
    """The keys at the top of the document."""
    return tuple(_parse(text, syntax, name).children)


def _find(root: Node, text: str, key: str, name: str) -> Node:
    node, left = root, key.split(".")
    seen: list[str] = []
    while left:
        size = next((n for n in range(1, len(left) + 1) if ".".join(left[:n]) in node.children), 0)
        if not size:
            where = f"under `{'.'.join(seen)}`" if seen else "at the top"
            possible = ", ".join(node.children) or f"none, it is {_called(node.kind)}"
            raise PromptError(f"{name}: no key `{left[0]}` {where} (for `{key}`); keys there: {possible}")
        step = ".".join(left[:size])
        node, left, seen = node.children[step], left[size:], [*seen, step]
    if node.kind != "text":
        below = f"; go on with one of: {', '.join(node.children)}" if node.children else "; quote it"
        raise PromptError(f"{name}: `{key}` is {_called(node.kind)}, not text{below}")
    anchor = _ANCHOR.match(text, node.start)
    if anchor and re.search(rf"\*{re.escape(anchor[1])}(?![\w-])", text):
        raise PromptError(f"{name}: `{key}` is shared through the YAML anchor &{anchor[1]}; write it out at `{key}`")
    return node


def _called(kind: str) -> str:
    return "null" if kind == "null" else f"{'an' if kind[0] in 'aeio' else 'a'} {kind}"


def _outline(node: Node, target: Node | None = None, new: str = "") -> object:
    """What the document says, positions left out, with `new` in the place of `target`."""
    if node is target:
        return ("text", new)
    if node.kind in ("mapping", "list"):
        return (node.kind, tuple((key, _outline(child, target, new)) for key, child in node.children.items()))
    return (node.kind, node.text)


def _parse(text: str, syntax: Syntax, name: str) -> Node:
    parse: Callable[[str], Node] = _parse_yaml if syntax == "yaml" else _parse_json
    try:
        return parse(text)
    except json.JSONDecodeError as error:
        raise PromptError(f"{name}: not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except yaml.YAMLError as error:
        raise PromptError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise PromptError(f"{name}: nested too deeply, or an anchor that holds itself") from None


def _parse_json(text: str) -> Node:
    json.loads(text)
    return _json_node(text, _skip(text, 0))


def _json_node(text: str, at: int) -> Node:
    """The value that starts at `at` in a text that is known to be JSON."""
    if text[at] not in "{[":
        value, end = json.JSONDecoder().raw_decode(text, at)
        kind = "text" if isinstance(value, str) else "null" if value is None else type(value).__name__
        return Node(kind, at, end, text=value if kind == "text" else json.dumps(value))
    children: dict[str, Node] = {}
    is_mapping, end = text[at] == "{", _skip(text, at + 1)
    while text[end] not in "}]":
        key = str(len(children))
        if is_mapping:
            key, end = json.JSONDecoder().raw_decode(text, end)
            end = _skip(text, _skip(text, end) + 1)
        children[key] = _json_node(text, end)
        end = _skip(text, children[key].end)
        end = _skip(text, end + 1) if text[end] == "," else end
    return Node("mapping" if is_mapping else "list", at, end + 1, children=children)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _json_variants(text: str, node: Node, new: str) -> Iterator[str]:
    escaped = "\\u" in text[node.start : node.end] and text.isascii()
    for ascii_only in (escaped, True):
        yield text[: node.start] + json.dumps(new, ensure_ascii=ascii_only) + text[node.end :]


def _parse_yaml(text: str) -> Node:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return Node("null", 0, 0) if root is None else _yaml_node(root, 0)


def _yaml_node(node: yaml.Node, indent: int) -> Node:
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.MappingNode):
        column = node.value[0][0].start_mark.column if node.value else 0
        pairs = [(key.value, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
        return Node("mapping", start, end, children={key: _yaml_node(value, column) for key, value in pairs})
    if isinstance(node, yaml.SequenceNode):
        children = {str(i): _yaml_node(value, node.start_mark.column) for i, value in enumerate(node.value)}
        return Node("list", start, end, children=children)
    tag = str(node.tag)
    kind = "text" if not tag.startswith(_CORE) or tag == _CORE + "str" else tag.removeprefix(_CORE)
    return Node(kind, start, end, text=str(node.value), indent=indent)


def _yaml_variants(text: str, node: Node, new: str) -> Iterator[str]:
    """The document with `new` as a literal block, then as a double-quoted line; the first exact one is taken."""
    properties = _PROPERTIES.match(text, node.start)
    start = properties.end() if properties else node.start
    old = text[start : node.end]
    header = _HEADER.match(old)
    if header:
        comment, tail = header["comment"] or "", _blank_tail(old)
        indent = _indent_of(old[header.end() :]) or node.indent + 2
        yield text[:start] + _literal(new, indent, node.indent, comment) + (tail or "\n") + text[node.end :]
        yield text[:start] + _quoted(new) + comment + tail + text[node.end :]
        return
    rest = _REST_OF_LINE.match(text, node.end)
    if rest and "\n" in new:
        literal = _literal(new, node.indent + 2, node.indent, rest["comment"] or "")
        yield text[:start] + literal + (text[rest.end() :] or "\n")
    yield text[:start] + _quoted(new) + text[node.end :]


def _literal(new: str, indent: int, parent: int, comment: str) -> str:
    """A literal block without its last line end."""
    body, chomp = (new[:-1], "") if new.endswith("\n") else (new, "-")
    hint = str(indent - parent) if body.lstrip("\n").startswith(" ") else ""
    lines = [" " * indent + line if line else "" for line in body.split("\n")]
    return "\n".join([f"|{hint}{chomp}{comment}", *lines])


def _quoted(new: str) -> str:
    dumped: str = yaml.safe_dump(new, default_style='"', allow_unicode=True, width=float("inf"))
    return dumped.removesuffix("\n")


def _indent_of(body: str) -> int:
    line = next((line for line in body.split("\n") if line.strip()), "")
    return len(line) - len(line.lstrip(" "))


def _blank_tail(old: str) -> str:
    """The last line end of a block scalar and the blank lines behind it, which are layout and stay."""
    end = old.find("\n", len(old.rstrip()))
    return old[end:] if end >= 0 else ""
