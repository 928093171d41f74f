"""The records that stages hand to each other. Frozen, pointing backwards by id, stored as they are.

Knows no file, no model and no database. What a record *means* stands under each field.
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from promptlearn.sections import add_to_section, heading, names_in
from promptlearn.variables import find_variables, substitute

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""

Split = Literal["train", "validation", "test"]
Role = Literal["task", "judge", "meta"]
VerdictKind = Literal["llm", "code", "human", "review", "ci"]

ROLES: tuple[Role, ...] = ("task", "judge", "meta")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def fingerprint(value: Json, length: int = 16) -> str:
    """A content address: the first `length` hex digits of SHA-256 over canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def as_text(value: Json) -> str:
    """How a value stands in a prompt: strings as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the user's table."""

    id: str
    """Hash of the inputs (or the user's own id column); the same row has the same id in every file."""
    inputs: Mapping[str, Json]
    """Variable name → value."""
    expected: Json = None
    """What a right answer is, where the table says so."""
    metadata: Mapping[str, Json] = field(default_factory=dict)
    """Every other column that the user asked to keep."""
    group: str | None = None
    """Rows of one group stay in one split."""
    domain: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule or demonstration was measured to be worth: mean paired difference with and without it."""

    score: float
    ci95: Interval
    n: int


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One solved example that a prompt carries."""

    inputs: Mapping[str, Json]
    output: str
    source: str = ""
    """Id of the train example that it was taken from; empty where the user wrote it."""
    effect: Effect | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """One learned instruction, and where it came from (invariant 11)."""

    text: str
    sources: tuple[str, ...] = ()
    """Example ids, verdict ids (`judge@example`) or review URLs."""
    effect: Effect | None = None
    part: str = ""
    """Which prompt of a program it belongs to, where there are several; empty: the last, or the only one."""


@dataclass(frozen=True, slots=True)
class Contract:
    """What no rewrite may break (invariant 6). Checked in code by `promptlearn.contract.violations`."""

    variables: frozenset[str] = frozenset()
    """The variable set: equal before and after."""
    locked: tuple[str, ...] = ()
    """Spans that stay byte-identical."""
    max_tokens: int | None = None
    """Upper bound for the learned text, demonstrations included, in estimated tokens."""
    output_schema: Mapping[str, Json] | None = None
    """JSON schema of the answers, shown to proposers and kept by them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the prompt's file can express what is learned. What is measured is what the file says."""

    demonstrations: Literal["turns", "text"] = "turns"
    """As chat turns (chat YAML), or as a section of the learned text (any other file)."""
    before: str = ""
    """What stands in front of the learned text and belongs to the prompt (around a managed block)."""
    after: str = ""


_DIGESTS: dict[int, str] = {}
"""Digests of the prompts that are alive, by identity: they are asked for with every row."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Prompt:
    """Messages with variables, learned rules, demonstrations, and the contract that they keep.

    The *learned text* is the content of the first system message (of the first message where there is none). Rules
    stand behind it. `inputs` that no message mentions reach the model in a last user message.
    """

    messages: tuple[Message, ...]
    rules: tuple[Rule, ...] = ()
    demonstrations: tuple[Demonstration, ...] = ()
    contract: Contract = Contract()
    layout: Layout = Layout()

    @classmethod
    def of(cls, text: str) -> Prompt:
        """A prompt of one system message."""
        return cls(messages=(Message("system", text),))

    @property
    def learned(self) -> int:
        """Index of the message that is learned."""
        return next((i for i, message in enumerate(self.messages) if message.role == "system"), 0)

    @property
    def text(self) -> str:
        """The learned text, without rules and demonstrations."""
        return self.messages[self.learned].content

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the prompts that it holds, for a program with several; none for a single one."""
        return tuple(name for name in names_in(self.text) if heading(name) in self.contract.locked)

    @property
    def variables(self) -> frozenset[str]:
        """The contract's variables that the messages and rules mention."""
        return frozenset(find_variables(self._source())) & self.contract.variables

    @property
    def digest(self) -> str:
        """Content address of everything that reaches the model; provenance and measured effects do not count."""
        known = _DIGESTS.get(id(self))
        if known is None:
            known = _DIGESTS[id(self)] = self._digest()
            weakref.finalize(self, _DIGESTS.pop, id(self)).atexit = False
        return known

    def _digest(self) -> str:
        return fingerprint(
            {
                "messages": [[message.role, message.content] for message in self.messages],
                "rules": [[rule.part, rule.text] if rule.part else rule.text for rule in self.rules],
                "demonstrations": [[dict(demo.inputs), demo.output] for demo in self.demonstrations],
                "variables": sorted(self.contract.variables),
                "layout": [self.layout.demonstrations, self.layout.before, self.layout.after],
            }
        )

    def with_text(self, text: str) -> Prompt:
        messages = list(self.messages)
        messages[self.learned] = replace(messages[self.learned], content=text)
        return replace(self, messages=tuple(messages))

    def learned_text(self) -> str:
        """The learned text with its rules (and demonstrations, where the layout writes them as text)."""
        text = self.text
        for name in dict.fromkeys(rule.part for rule in self.rules if rule.part):
            text = add_to_section(text, name, _listed([rule for rule in self.rules if rule.part == name]))
        parts = [text]
        if last := [rule for rule in self.rules if not rule.part]:
            parts.append(_listed(last))
        if self.demonstrations and self.layout.demonstrations == "text":
            parts.append("Examples:\n\n" + "\n\n".join(_as_section(demo) for demo in self.demonstrations))
        first, *rest = parts
        return "\n\n".join([first.rstrip("\n"), *rest]) if rest else first

    def render(self, inputs: Mapping[str, Json]) -> tuple[Message, ...]:
        """The chat messages for one example's inputs: one substitution pass over the template (invariant 12).

        Demonstrations as turns stand in front of the first message that asks. A prompt whose learned message mentions
        every input asks with that message, which is then the user's where no other is.
        """
        values = self._values(inputs)
        templates = list(self.messages)
        at = self.learned
        learned = self.layout.before + self.learned_text() + self.layout.after
        templates[at] = replace(templates[at], content=learned)
        asks = [m for i, m in enumerate(templates) if i != at and self._asks(m)]
        if not asks and not self._left(inputs):  # the learned message is the question itself
            if not any(message.role == "user" for message in templates):
                templates[at] = replace(templates[at], role="user")
            asks = [templates[at]]
        first = templates.index(asks[0]) if asks else len(templates)
        rendered = [replace(m, content=substitute(m.content, values)) for m in templates[:first]]
        if self.layout.demonstrations == "turns":
            for demo in self.demonstrations:
                question = [substitute(m.content, self._values(demo.inputs)) for m in asks] + self._left(demo.inputs)
                rendered += [Message("user", "\n\n".join(question)), Message("assistant", demo.output)]
        rendered += [replace(m, content=substitute(m.content, values)) for m in templates[first:]]
        rendered += [Message("user", text) for text in self._left(inputs)]
        if not any(message.role == "user" for message in rendered):
            rendered[-1] = replace(rendered[-1], role="user")
        return tuple(rendered)

    def _source(self) -> str:
        """Everything in which a variable may stand."""
        texts = [self.layout.before, self.layout.after]
        return "\n".join([*texts, *(m.content for m in self.messages), *(rule.text for rule in self.rules)])

    def _asks(self, message: Message) -> bool:
        return message.role == "user" and not self.contract.variables.isdisjoint(find_variables(message.content))

    def _values(self, inputs: Mapping[str, Json]) -> dict[str, str]:
        return {name: as_text(value) for name, value in inputs.items() if name in self.contract.variables}

    def _left(self, inputs: Mapping[str, Json]) -> list[str]:
        """The inputs that no message mentions, as the text of a last user message (or nothing)."""
        left = {name: value for name, value in inputs.items() if name not in self.variables}
        if len(left) == 1 and len(inputs) == 1:
            return [as_text(value) for value in left.values()]
        return ["\n".join(f"{name}: {as_text(value)}" for name, value in left.items())] if left else []


def _listed(rules: Sequence[Rule]) -> str:
    return "Rules:\n" + "\n".join(f"- {rule.text}" for rule in rules)


def _as_section(demo: Demonstration) -> str:
    shown = "\n".join(f"{name}: {as_text(value)}" for name, value in demo.inputs.items())
    return f"{shown}\nAnswer: {demo.output}"


@dataclass(frozen=True, slots=True)
class Usage:
    """What model calls cost. Adds up with `+`."""

    calls: int = 0
    """Calls that were paid for."""
    cached_calls: int = 0
    """Calls that the journal answered."""
    input_tokens: int = 0
    """Of paid calls, as the endpoint counted them; so are the next two."""
    output_tokens: int = 0
    cached_tokens: int = 0
    """Input tokens that the provider's own prompt cache answered."""
    cost_usd: float | None = 0.0
    """None: a price is unknown."""

    def __add__(self, other: Usage) -> Usage:
        unknown = self.cost_usd is None or other.cost_usd is None
        return Usage(
            self.calls + other.calls,
            self.cached_calls + other.cached_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0),
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no output or no verdict. Never a score (invariant 4)."""

    kind: str
    """One of `errors.FAILURE_KINDS`."""
    message: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: Mapping[str, Json]
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a rollout, with what its tools did."""

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    prompt: str = ""
    """Which prompt it was said under, for a program with several."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One run of a prompt on an example: an output, or a failure."""

    prompt: str
    """Digest of the prompt."""
    example: str
    output: str = ""
    turns: tuple[Turn, ...] = ()
    """What was said on the way to the output; empty for a single chat completion."""
    stop_reason: str = ""
    """The model's `finish_reason`: `stop`, `length`, …"""
    error: Failure | None = None
    usage: Usage = Usage()
    seconds: float = 0.0
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """What a command left behind: exit code, test results, diff; see `programs/command.py`."""

    @property
    def id(self) -> str:
        return f"{self.prompt}/{self.example}"


@dataclass(frozen=True, slots=True)
class CriterionVerdict:
    """What a judge says about one criterion of its list."""

    name: str
    met: bool
    quote: str = ""
    """The words that show it, as they stand in what was judged; empty where something is missing there."""


@dataclass(frozen=True, slots=True)
class TurnNote:
    """What a judge says about one turn."""

    turn: int
    """Counts from 1."""
    effect: Literal["helped", "neutral", "hurt"]
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one judge says about one rollout, in words and as a score."""

    name: str
    """The judge."""
    rollout: str
    """Id of the rollout."""
    score: float | None = None
    """0 to 1. None means *not judged*: it stays out of every mean and is counted on its own."""
    label: str | None = None
    explanation: str = ""
    suggestion: str | None = None
    """What text in the system prompt would have prevented the failure."""
    passed: bool | None = None
    error: Failure | None = None
    kind: VerdictKind = "code"
    turn_notes: tuple[TurnNote, ...] = ()
    """On single turns of the rollout."""
    criteria: tuple[CriterionVerdict, ...] = ()
    """One for each criterion, where the judge has a list of them."""
    source: str = ""
    """What judged: `name@version` of the judge's file and its model, or a person."""
    about: str = ""
    """Of a person's label: the judge whose question it answers; empty: the answer as a whole."""
    usage: Usage = Usage()
    gold: bool = False
    """Judges, but does not steer: in no score and no critique."""


SKIPPED = "skipped"
"""The label of a judgement that was not asked for, because a judge before it did not pass. It has no score,
and counts 0 in the mean of its panel."""


def is_skipped(verdict: Verdict) -> bool:
    """Whether nobody asked for this judgement, because a judge before it did not pass."""
    return verdict.label == SKIPPED and verdict.score is None and verdict.error is None


def has_passed(verdict: Verdict) -> bool:
    """A judge that does not say passes from one half on."""
    return verdict.passed if verdict.passed is not None else (verdict.score or 0.0) >= 0.5


Standing = Literal["passed", "not_passed", "skipped", "not_judged"]
"""What became of a judgement; `not_judged` is a failure of the judge, and no score (invariant 4)."""


def standing(verdict: Verdict) -> Standing:
    if verdict.score is None:
        return "skipped" if is_skipped(verdict) else "not_judged"
    return "passed" if has_passed(verdict) else "not_passed"


@dataclass(frozen=True, slots=True)
class Review:
    """One piece of human feedback, from a pull request or a file."""

    id: str
    body: str
    author: str = ""
    trusted: bool = False
    state: Literal["pending", "approved", "dismissed"] = "pending"
    path: str | None = None
    suggestion: str | None = None
    url: str | None = None
    created_at: str | None = None
    sources: tuple[str, ...] = ()
    """URLs or ids of other approved comments that say the same."""
    examples: tuple[str, ...] = ()
    """Ids of the examples that it was said about."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What reviewers taught: no prompt that loses it takes the place of one that keeps it."""

    rule: str
    sources: tuple[str, ...] = ()
    """URLs or ids of the comments that it came from."""
    examples: tuple[str, ...] = ()
    """Ids of the examples that these were said about."""
    run: str = ""
    """The run that adopted it; empty: approved, and part of no shipped prompt yet."""

    @property
    def id(self) -> str:
        """The same for the same rule, whatever its case and white space."""
        return fingerprint(" ".join(self.rule.casefold().split()), 12)


@dataclass(frozen=True, slots=True)
class FailureMode:
    """A cluster of critiques that say the same."""

    title: str
    examples: tuple[str, ...]
    """Ids of the examples that failed this way, in example order; its length is the count."""
    evidence: tuple[str, ...]
    """Verbatim quotes: input, output and explanation."""
    suggestions: tuple[str, ...] = ()
    """Distinct suggestions of the verdicts, the most frequent first."""
    expected: str = ""
    """Expected behaviour, where the verdicts agree on one."""
    general: bool = True
    """False where a single example stands behind it."""
    points: int = 1
    """Different things that are said about it: suggestions, or sentences where no suggestion sums them up."""
    cost: float = 0.0
    """Score that it took from its rows, all together; a row that fails in several ways shares its loss out to them."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a proposer returns: a prompt whose contract has not been checked yet."""

    prompt: Prompt
    rationale: str = ""
    usage: Usage = Usage()
    """What proposing it cost."""
    parents: tuple[str, ...] = ()
    """Digests of the prompts that it was made from beside the one that was to be improved."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A prompt that kept its contract, and how it came to be."""

    prompt: Prompt
    parents: tuple[str, ...]
    """Digests."""
    proposer: str
    rationale: str = ""
    usage: Usage = Usage()

    @property
    def digest(self) -> str:
        return self.prompt.digest


@dataclass(frozen=True, slots=True)
class Decision:
    """Candidate against incumbent on paired validation rows."""

    candidate: str
    incumbent: str
    stage: Literal["contract", "gate", "race", "guard", "prune", "objective"]
    outcome: Literal["accepted", "rejected", "undecided"]
    reason: str
    pairs: int = 0
    """Rows on which both have a score."""
    difference: float | None = None
    """Mean of candidate minus incumbent over the pairs."""
    ci95: Interval | None = None
    p_value: float | None = None
