"""Our own prompt file: chat YAML with messages, learned rules, demonstrations and a contract.

    messages:
      - role: system
        content: |
          Label the customer's message.
      - {role: user, content: "{message}"}
    demonstrations:                       # optional: solved examples, sent as chat turns
      - inputs: {message: "My parcel is lost"}
        output: shipping
        source: 1f0c…                     # optional: id of the train example
    rules:                                # optional
      - text: A refund for a lost parcel is `shipping`.
        sources: ["https://…"]            # optional: where it came from
    contract:                             # optional: what no rewrite may break
      locked: ["Never promise a refund."]
      max_tokens: 800
      literals: [placeholder]             # names in braces that are no variables
      output_schema: {enum: [shipping, billing]}

Knows the format alone: not where files are, nor what a dataset holds. One line end at the end of a message or rule is
how YAML blocks end, and is not part of the text. YAML is read as JSON would be: `no` and `2024-01-01` are text.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, StrictStr, ValidationError

from promptlearn.errors import PromptError
from promptlearn.prompt.keyed import replace_value
from promptlearn.prompt.text import join_end, split_end
from promptlearn.records import Contract, Demonstration, Effect, Interval, Json, Message, Prompt, Rule
from promptlearn.variables import find_variables

_TOP_COMMENT = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")
_BEHIND = re.compile(r"\n(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z))*\Z")
"""The line end of a section, and blank lines and comments behind it, which belong to what follows."""
_NO_WRAP = 1_000_000_000


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Message(_Section):
    role: Literal["system", "user", "assistant"]
    content: StrictStr


class _Effect(_Section):
    score: float
    ci95: tuple[float, float]
    n: int


class _Demonstration(_Section):
    inputs: dict[str, JsonValue]
    output: StrictStr
    source: StrictStr = ""
    effect: _Effect | None = None


class _Rule(_Section):
    text: StrictStr
    sources: tuple[StrictStr, ...] = ()
    effect: _Effect | None = None
    part: StrictStr = ""


class _Contract(_Section):
    locked: tuple[StrictStr, ...] = ()
    max_tokens: int | None = None
    literals: tuple[StrictStr, ...] = ()
    output_schema: dict[str, JsonValue] | None = None


class _Chat(_Section):
    messages: tuple[_Message, ...]
    rules: tuple[_Rule, ...] = ()
    demonstrations: tuple[_Demonstration, ...] = ()
    contract: _Contract = _Contract()


_SECTIONS: Mapping[str, type[_Section]] = {
    "": _Chat,
    "messages": _Message,
    "demonstrations": _Demonstration,
    "rules": _Rule,
    "effect": _Effect,
    "contract": _Contract,
}


@dataclass(frozen=True, slots=True)
class Chat:
    """What a chat YAML file says."""

    prompt: Prompt
    literals: tuple[str, ...] = ()


class _Loader(yaml.SafeLoader):
    """Reads plain scalars as JSON would: no dates, and only `true` and `false` are booleans."""


class LiteralDumper(yaml.SafeDumper):
    """Writes text of several lines as literal blocks, and nothing as an anchor."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile("true|True|TRUE|false|False|FALSE") if tag.endswith(":bool") else pattern)
        for tag, pattern in resolvers
        if not tag.endswith(":timestamp") and (not tag.endswith(":bool") or first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


LiteralDumper.add_representer(str, _write_text)


def is_chat(text: str) -> bool:
    """Whether a YAML text has a list of `messages` at the top; False too where it is not YAML."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return False
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return any(key.value == "messages" and isinstance(value, yaml.SequenceNode) for key, value in pairs)


def read_chat(text: str, name: str) -> Chat:
    """Raises `PromptError` naming the key that is unknown, missing or of the wrong kind."""
    try:
        chat = _Chat.model_validate(_load(text, name))
    except ValidationError as error:
        raise PromptError(f"{name}: {_first_problem(error)}") from None
    contract = chat.contract
    prompt = Prompt(
        messages=tuple(Message(m.role, split_end(m.content)[0]) for m in chat.messages),
        rules=tuple(
            Rule(split_end(rule.text)[0], rule.sources, _effect(rule.effect), rule.part) for rule in chat.rules
        ),
        demonstrations=tuple(
            Demonstration(demo.inputs, demo.output, demo.source, _effect(demo.effect)) for demo in chat.demonstrations
        ),
        contract=Contract(locked=contract.locked, max_tokens=contract.max_tokens, output_schema=contract.output_schema),
    )
    if not prompt.messages:
        raise PromptError(f"{name}: `messages` is empty; give at least one message")
    empty = next((i for i, m in enumerate(prompt.messages) if not m.content.strip()), None)
    if empty is not None:
        raise PromptError(f"{name}: messages.{empty}.content is empty; write a prompt to start from")
    return Chat(prompt, contract.literals)


def write_chat(old: str, prompt: Prompt, name: str) -> str:
    """The file's text with `prompt` in it. Every other byte of `old` stays; where its YAML does not allow that (other
    roles, flow style), the comment at the top and the contract do.
    """
    return _edited(old, prompt, name) or _rewritten(old, prompt, name)


def _edited(old: str, prompt: Prompt, name: str) -> str | None:
    """The same text with the parts exchanged that differ; None where that can not be done."""
    document = _load(old, name)
    if not document.get("messages"):  # a new file
        return None
    before = read_chat(old, name).prompt
    if [m.role for m in before.messages] != [m.role for m in prompt.messages]:
        return None
    text = old
    try:
        for i, (was, now) in enumerate(zip(before.messages, prompt.messages, strict=True)):
            if was != now:
                end = split_end(document["messages"][i]["content"])[1]
                text = replace_value(text, f"messages.{i}.content", join_end(now.content, end), "yaml", name)
        if before.rules != prompt.rules:
            text = _with_section(text, "rules", [_rule(rule) for rule in prompt.rules], name)
        if before.demonstrations != prompt.demonstrations:
            shown = [_demonstration(demo) for demo in prompt.demonstrations]
            text = _with_section(text, "demonstrations", shown, name)
        found = read_chat(text, name).prompt
    except PromptError:
        return None
    wanted = (prompt.messages, prompt.rules, prompt.demonstrations, before.contract)
    return text if (found.messages, found.rules, found.demonstrations, found.contract) == wanted else None


def _with_section(text: str, key: str, items: list[Json], name: str) -> str:
    """The document with `items` under a key at its top, in the place of the old ones or at the end."""
    written = _dump({key: items}, name) if items else ""
    root = yaml.compose(text, Loader=_Loader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    found = next(((at, value) for at, value in pairs if at.value == key), None)
    if found is None:
        return text + ("" if text.endswith("\n") else "\n") + written
    start, end = found[0].start_mark.index, found[1].end_mark.index
    section = _BEHIND.sub("", text[start:end])
    rest = text[start + len(section) :]
    return text[:start] + written.removesuffix("\n") + (rest if written else rest.removeprefix("\n"))


def _rewritten(old: str, prompt: Prompt, name: str) -> str:
    document: dict[str, Json] = {"messages": [_message(message) for message in prompt.messages], **_parts(prompt)}
    contract = _load(old, name).get("contract")
    if contract:
        document["contract"] = contract
    comment = _TOP_COMMENT.match(old)
    return (comment[0] if comment else "") + _dump(document, name)


def new_chat(prompt: Prompt, name: str) -> str:
    """A file of its own for a prompt made in Python, with the contract that it has now."""
    texts = [*(message.content for message in prompt.messages), *(rule.text for rule in prompt.rules)]
    contract = {
        "locked": list(prompt.contract.locked),
        "max_tokens": prompt.contract.max_tokens,
        "literals": [name for name in find_variables("\n".join(texts)) if name not in prompt.contract.variables],
        "output_schema": prompt.contract.output_schema,
    }
    declared = {key: value for key, value in contract.items() if value}
    return write_chat(_dump({"messages": [], "contract": declared}, name), prompt, name)


def learned_parts(prompt: Prompt, name: str) -> str:
    """The rules and demonstrations alone, as a chat YAML holds them."""
    return _dump(_parts(prompt), name)


def _parts(prompt: Prompt) -> dict[str, Json]:
    parts = {
        "rules": [_rule(rule) for rule in prompt.rules],
        "demonstrations": [_demonstration(demo) for demo in prompt.demonstrations],
    }
    return {key: items for key, items in parts.items() if items}


def _message(message: Message) -> Json:
    return {"role": message.role, "content": _block(message.content)}


def _rule(rule: Rule) -> Json:
    written: dict[str, Json] = {"text": _block(rule.text)}
    if rule.sources:
        written["sources"] = list(rule.sources)
    if rule.effect:
        written["effect"] = _measured(rule.effect)
    if rule.part:
        written["part"] = rule.part
    return written


def _demonstration(demo: Demonstration) -> Json:
    written: dict[str, Json] = {"inputs": dict(demo.inputs), "output": demo.output}
    if demo.source:
        written["source"] = demo.source
    if demo.effect:
        written["effect"] = _measured(demo.effect)
    return written


def _measured(effect: Effect) -> Json:
    return {"score": effect.score, "ci95": [effect.ci95.low, effect.ci95.high], "n": effect.n}


def _block(text: str) -> str:
    """Texts of several lines get the line end that a literal block has."""
    return join_end(text, "\n" if "\n" in text else "")


def _effect(effect: _Effect | None) -> Effect | None:
    return Effect(effect.score, Interval(*effect.ci95), effect.n) if effect else None


def _load(text: str, name: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise PromptError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise PromptError(f"{name}: a mapping with `messages` was expected")
    return document


def _dump(document: dict[str, Json], name: str) -> str:
    """YAML that reads back as the same document; quoted throughout where literal blocks can not express a text."""
    for dumper in (LiteralDumper, yaml.SafeDumper):
        text: str = yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=_NO_WRAP)
        if _load(text, name) == document:
            return text
    quoted: str = yaml.dump(document, Dumper=yaml.SafeDumper, sort_keys=False, default_style='"', width=_NO_WRAP)
    return quoted


def _first_problem(error: ValidationError) -> str:
    problems = error.errors()
    problem = next((each for each in problems if each["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        names = [part for part in problem["loc"][:-1] if isinstance(part, str)]
        section = _SECTIONS[names[-1] if names else ""]
        return f"unknown key `{where}`; possible: {', '.join(section.model_fields)}"
    if problem["type"] == "missing":
        return f"key `{where}` is missing"
    hint = "; put it in quotes" if problem["type"] == "string_type" else ""
    return f"`{where}`: {problem['msg'].lower()}, got {problem['input']!r:.60}{hint}"
