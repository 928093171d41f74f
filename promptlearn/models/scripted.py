"""ScriptedModel: the fake model that the library ships and that its own tests use.

Knows no network and no clock but the latency that it is told. What it can be given:

    ScriptedModel(["first reply", "second reply"])                # a list: one reply per call, in the order of calls
    ScriptedModel(lambda messages: messages[-1].content.upper())  # a function of the chat
    ScriptedModel([(r"refund", "billing"), (r"parcel", "shipping")], default="other")   # rules

A rule is a pair of a regular expression and a reply; the first rule whose expression is found in the chat wins. The
chat is searched as text, one `role: content` after the other; `^` and `$` match at line ends, `(?s)` and `(?i)` work as
usual. A reply is a text, a `Reply` (to set `finish_reason` or `usage`), or an exception, which is raised:

    flaky = ScriptedModel([ModelError("rate_limit", "slow down"), "at last"])

Functions and rules answer the same at any concurrency; a list answers in the order in which calls arrive, so use it
where calls come one by one. `model.calls` records every call. From the command line the same fake is
`scripted/PATH.yaml`:

    rules:
      - {when: "refund", reply: "billing"}
      - {when: "(?i)where is my parcel", reply: "shipping"}
    default: "other"          # without it, a chat that no rule knows stops the run
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from promptlearn.errors import ConfigError, ModelError, SystemicError
from promptlearn.models.base import FREE, ModelBase, Price, Reply, Sampling
from promptlearn.records import Json, Message, Usage, fingerprint
from promptlearn.tokens import estimate_tokens

Scripted: TypeAlias = str | Reply | Exception
"""What stands in a script for one reply."""
Rule: TypeAlias = tuple[str, Scripted]
Script: TypeAlias = Sequence[Scripted | Rule] | Callable[[Sequence[Message]], Scripted]
"""A list holds replies or rules, not both."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in."""

    messages: tuple[Message, ...]
    sampling: Sampling
    schema: Mapping[str, Json] | None
    repeat: int


class ScriptedModel(ModelBase):
    """A model that answers from a script; see the module's text for how to write one."""

    in_process = True

    def __init__(
        self,
        script: Script,
        *,
        default: Scripted | None = None,
        name: str = "scripted",
        identity: str | None = None,
        sampling: Sampling = Sampling(),
        latency: float | Callable[[Sequence[Message]], float] = 0.0,
        price: Price = FREE,
    ) -> None:
        """`default` answers what no rule knows. `latency` is in seconds, or a function of the chat. `price` is what
        plain texts are taken to cost, for a rehearsal. `identity` is what the journal files replies under: by default
        a digest of the script and its price (for a function: of its name, so give functions that share a journal an
        identity each).
        """
        written = _written(script, default)
        identity = identity or f"scripted/{fingerprint(written if price == FREE else [written, repr(price)])}"
        super().__init__(name, identity, sampling, price)
        self._answer = _reader(script, default, name)
        self._latency = latency
        self._cost = price.cost
        self.calls: list[Call] = []
        """Every call so far, in the order of arrival."""

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """The script's answer. Tokens are estimated where it is a plain text; raises what the script says."""
        chat = tuple(messages)
        self.calls.append(Call(chat, sampling or self._sampling, schema, repeat))
        answer = self._answer(chat)
        seconds = self._latency(chat) if callable(self._latency) else self._latency
        if seconds > 0:
            await asyncio.sleep(seconds)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            tokens = sum(estimate_tokens(message.content) for message in chat)
            written = estimate_tokens(answer)
            cost = self._cost(tokens, written)
            usage = Usage(calls=1, input_tokens=tokens, output_tokens=written, cost_usd=cost)
            answer = Reply(answer, usage=usage, seconds=seconds)
        if not answer.text.strip():
            raise ModelError("empty", f"{self._name} answered with an empty text")
        return answer

    async def close(self) -> None:
        """Nothing to give back."""


class RuleEntry(BaseModel):
    """One entry of `rules`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str
    """Regular expression."""
    reply: str


class ScriptFile(BaseModel):
    """The shape of `scripted/PATH.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[RuleEntry, ...] = ()
    default: str | None = None


def load_script(path: Path, sampling: Sampling = Sampling(), price: Price = FREE) -> ScriptedModel:
    """The model of a script file. Raises ConfigError naming file and key."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        script = ScriptFile.model_validate(content)
    except FileNotFoundError:
        raise ConfigError(f"no script at {path}; write one with `rules: [{{when: REGEX, reply: TEXT}}]`") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"script {path} can not be read: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"script {path}: `{key}`: {problem['msg']}; known are rules, default, when, reply") from None
    rules = [(rule.when, rule.reply) for rule in script.rules]
    return ScriptedModel(rules, default=script.default, name=f"scripted/{path.name}", sampling=sampling, price=price)


def _reader(script: Script, default: Scripted | None, name: str) -> Callable[[Sequence[Message]], Scripted]:
    """The script as a function of the chat."""
    if callable(script):
        return script
    if script and not all(isinstance(entry, tuple) for entry in script):
        return _Sequence([entry for entry in script if not isinstance(entry, tuple)], default, name)
    return _Rules([entry for entry in script if isinstance(entry, tuple)], default, name)


class _Sequence:
    """Replies one after the other."""

    def __init__(self, replies: Sequence[Scripted], default: Scripted | None, name: str) -> None:
        self._replies = replies
        self._default = default
        self._name = name
        self._next = 0

    def __call__(self, messages: Sequence[Message]) -> Scripted:
        at, self._next = self._next, self._next + 1
        if at < len(self._replies):
            return self._replies[at]
        if self._default is not None:
            return self._default
        count = f"{len(self._replies)} replies and was asked for number {at + 1}"
        return SystemicError("program", f"the script of {self._name} has {count}: add replies, or use rules")


class _Rules:
    """The first rule that is found in the chat."""

    def __init__(self, rules: Sequence[Rule], default: Scripted | None, name: str) -> None:
        self._rules = [(_compiled(pattern, name), reply) for pattern, reply in rules]
        self._default = default
        self._name = name

    def __call__(self, messages: Sequence[Message]) -> Scripted:
        chat = "\n".join(f"{message.role}: {message.content}" for message in messages)
        found = next((reply for pattern, reply in self._rules if pattern.search(chat)), self._default)
        if found is not None:
            return found
        ending = " ".join(chat[-80:].split())
        message = f"no rule of {self._name} matches the chat that ends {ending!r}: add a rule or a default"
        return SystemicError("program", message)


def _compiled(pattern: str, name: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise ConfigError(f"{name}: `when: {pattern}` is not a regular expression: {error}") from None


def _written(script: Script, default: Scripted | None) -> Json:
    """The script as JSON, for its digest."""
    if callable(script):
        qualified = getattr(script, "__qualname__", type(script).__qualname__)
        return [script.__module__, qualified]
    return [[repr(entry) for entry in script], repr(default)]
