"""LLMJudge: a judge's file put to a model, and the reply read as a verdict.

Knows records, templates and the Model protocol; knows no endpoint, store or budget. What is under judgement is data
(invariant 9): secrets are taken out, long texts are cut with a mark, and each text stands in a fence of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from promptlearn.errors import ConfigError, DataError, ModelError, SystemicError
from promptlearn.judging.asset import JudgeFile, Scale
from promptlearn.judging.checklist import (
    as_list,
    check_names,
    checks_field,
    label_of,
    read_checks,
    share_met,
    unmet_words,
)
from promptlearn.judging.checks import need_expected
from promptlearn.judging.evidence import evidence_text, show_conversation, took_steps
from promptlearn.judging.excerpt import as_seen, cut_end, cut_middle
from promptlearn.judging.finding import not_judged
from promptlearn.judging.turn_notes import FIELD as TURN_NOTES
from promptlearn.judging.turn_notes import read_turn_notes
from promptlearn.models.base import Model
from promptlearn.models.structured import Field, complete_fields
from promptlearn.records import (
    Example,
    Failure,
    Json,
    Message,
    Rollout,
    Verdict,
    as_text,
    fingerprint,
)
from promptlearn.template import call_nonce, fence, render

MAX_EXPLANATION = 2000
MAX_SUGGESTION = 600
_NOTHING = frozenset({"", "none", "n/a", "na", "null", "nothing", "no", "-"})
_BEHIND = {
    "conversation": "What was said and done, turn by turn from the margin; it counts where the question is about it:",
    "evidence": "What was left behind, each heading at the margin:",
}
"""What every judge sees behind the output, unless its file asks for it elsewhere: the name → what introduces it."""


@dataclass(frozen=True, slots=True)
class LLMOptions:
    """What the configuration may say beside `use`."""

    name: str = ""
    """What reports call the judge; the file's name where empty."""
    criteria: str = ""
    """In place of the file's own criteria."""
    context: str = ""
    """The input or metadata column that a judge with the input `context` holds the output against; all inputs where
    empty."""
    checklist: Mapping[str, str] = field(default_factory=dict)
    """In place of the file's own checklist: name → criterion."""
    max_chars: int = 6000
    """How much of one text a judge sees, in characters; the middle of a longer one is left out."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a judge sees, but for the fences."""

    material: Mapping[str, str]
    turns: frozenset[int]
    """Numbers of the turns that are shown."""
    acted: str
    """Of the conversation, what is under judgement."""

    @property
    def done(self) -> list[str]:
        """What is under judgement."""
        own = {**self.material, "conversation": self.acted}
        return [own[name] for name in ("output", *_BEHIND) if name in self.material]

    @property
    def given(self) -> list[str]:
        """What it is held against, the words of whoever asked in a conversation among it."""
        return [text for name, text in self.material.items() if name not in ("output", "evidence")]


class LLMJudge:
    """A judge whose question stands in a file. Explanation first, then label or number, then the suggestion.

    The prompt under optimisation is not shown to it: a prompt that asks for less must not look better for that.
    """

    def __init__(
        self, file: JudgeFile, model: Model, options: LLMOptions = LLMOptions(), secrets: Sequence[str] = ()
    ) -> None:
        """`secrets` are texts that no judge may see, beyond what `redact` finds itself."""
        self.file = file
        self.model = model
        self.options = options
        self._secrets = tuple(secrets)
        self.checklist = dict(options.checklist or file.checklist)
        self._fields = _reply_fields(file, self.checklist)
        if options.checklist and not file.checklist:
            raise ConfigError(f"judge {self.name} has no checklist; use the judge `checklist`, or `criteria`")
        try:
            check_names([*self.checklist])
        except ValueError as error:
            raise ConfigError(f"judge {self.name}: checklist: {error}") from None
        if "criteria" in file.inputs and not self._criteria:
            raise ConfigError(f"judge {self.name} needs `criteria`: say in a sentence or two what it is to look for")
        if options.max_chars < 1:
            raise ConfigError(f"judge {self.name}: max_chars is {options.max_chars}; it has to be at least 1")

    @property
    def name(self) -> str:
        return self.options.name or self.file.name

    @property
    def source(self) -> str:
        return f"{self.file.name}@{self.file.version} {self.model.name}"

    @property
    def digest(self) -> str:
        """What makes two such judges the same: file, options and model."""
        options = [self.options.name, self._criteria, self.options.context, self.options.max_chars]
        options += [self.checklist] if self.checklist else []
        return fingerprint([self.file.model_dump(mode="json"), options, self.model.identity])

    def check(self, examples: Sequence[Example]) -> None:
        """Raises `DataError` for examples without the expected answer or the context column that the file asks for."""
        if "expected" in self.file.inputs:
            need_expected(self.name, examples)
        column = self.options.context if "context" in self.file.inputs else ""
        for example in examples:
            if column and column not in example.inputs and column not in example.metadata:
                possible = ", ".join([*example.inputs, *example.metadata])
                raise DataError(
                    f"judge {self.name}: example {example.id} has no column {column!r}; possible: {possible}"
                )

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        """One call (and one repair). Raises `SystemicError` where the endpoint refuses everybody."""
        return await self.judge_again(example, rollout, 0)

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        """As `judge`, with a call of its own for each `repeat`: the journal keeps them apart."""
        self.check([example])
        shown = self._shown(example, rollout)

        def make_sense(values: Mapping[str, Json]) -> None:
            self._verdict(rollout, shown, values)

        try:
            reply = await complete_fields(
                self.model, self._messages(shown.material), self._fields, repeat=repeat, check=make_sense
            )
        except SystemicError:
            raise
        except ModelError as error:
            failure = Failure(error.kind, str(error))
            return not_judged(self.name, rollout, failure, kind="llm", source=self.source)
        return replace(self._verdict(rollout, shown, reply.values), usage=reply.usage)

    def messages(self, example: Example, rollout: Rollout) -> tuple[Message, ...]:
        """What the model is asked. The same example and rollout give the same bytes, as the journal needs.

        The nonce stands in the user message alone, so that the system message can be cached by its prefix.
        """
        return self._messages(self._shown(example, rollout).material)

    def question(self, example: Example, rollout: Rollout) -> str:
        """Names what the model is asked: the journal gives one verdict to all rollouts with the same question."""
        return fingerprint([message.content for message in self.messages(example, rollout)])

    def _shown(self, example: Example, rollout: Rollout) -> _Shown:
        limit = self.options.max_chars
        every = {name: cut_middle(self._clean(text), limit) for name, text in self._texts(example, rollout).items()}
        conversation = show_conversation(rollout, limit, self._clean)
        every["conversation"] = conversation.text or every["output"]
        every["evidence"] = evidence_text(rollout, limit, self._clean)
        shown = [name for name in self.file.inputs if name != "criteria"]
        shown += ["conversation"] if took_steps(rollout) else []
        shown += ["evidence"] if every["evidence"] else []
        acted = conversation.acted if conversation.text else every["output"]
        return _Shown({name: every[name] for name in shown}, conversation.turns, acted)

    def _messages(self, material: Mapping[str, str]) -> tuple[Message, ...]:
        nonce = call_nonce([*material.values()], f"{self.file.name}@{self.file.version}")
        fenced = {name: fence(text, nonce, name) for name, text in material.items()}
        behind = [name for name in _BEHIND if name in material and name not in self.file.inputs]
        fenced["output"] += "".join(f"\n\n{_BEHIND[name]}\n{fenced[name]}" for name in behind)
        values: dict[str, Json] = {**fenced, **self.settings}
        return (
            Message("system", render(self.file.system, values, f"judge {self.name}, system").strip()),
            Message("user", render(self.file.user, values, f"judge {self.name}, user").strip()),
        )

    @property
    def settings(self) -> dict[str, Json]:
        """What the templates may say beside the material."""
        found: dict[str, Json] = {"labels": list(self.file.labels)}
        return found | {"criteria": self._criteria} if "criteria" in self.file.inputs else found

    def with_file(self, file: JudgeFile, model: Model) -> LLMJudge:
        """The same judge with another question, put to another model."""
        return LLMJudge(file, model, self.options, self._secrets)

    @property
    def _criteria(self) -> str:
        if self.checklist:
            return as_list(self.checklist)
        return (self.options.criteria or self.file.criteria).strip()

    def _texts(self, example: Example, rollout: Rollout) -> dict[str, str]:
        column = self.options.context
        return {
            "input": _columns(example.inputs),
            "output": rollout.output,
            "expected": "" if example.expected is None else as_text(example.expected),
            "context": as_text({**example.metadata, **example.inputs}[column]) if column else _columns(example.inputs),
        }

    def _clean(self, text: str) -> str:
        return as_seen(text, self._secrets)

    def _verdict(self, rollout: Rollout, shown: _Shown, values: Mapping[str, Any]) -> Verdict:
        """Raises `ModelError("unparseable")` for a reply that can be read and makes no sense."""
        explanation = str(values["explanation"]).strip()
        checks = read_checks(values["checks"], self.checklist, shown.done, shown.given) if self.checklist else ()
        label: str | None = None
        if checks:
            label, score = label_of(checks), share_met(checks)
            explanation += unmet_words(checks, self.checklist)
        elif self.file.scale:
            score = _grade(self.file.scale, values["score"])
        else:
            label = str(values["label"])
            score = self.file.labels[label]
        # Where there are no turns, notes can only be on the output, which is what the explanation is about.
        notes = read_turn_notes(values["turn_notes"], shown.turns) if self.file.turn_notes and rollout.turns else ()
        passed = score >= self.file.pass_at
        return Verdict(
            name=self.name,
            rollout=rollout.id,
            score=score,
            label=label,
            explanation=cut_end(explanation, MAX_EXPLANATION),
            suggestion=None if passed else _suggestion(values),
            passed=passed,
            kind="llm",
            turn_notes=notes,
            criteria=checks,
            source=self.source,
        )


def _reply_fields(file: JudgeFile, checklist: Mapping[str, str]) -> tuple[Field, ...]:
    """Words before the mark: a model that has to give its reasons first judges better, and we learn from the words."""
    if checklist:
        mark = checks_field([*checklist])
    elif file.scale:
        mark = Field("score", "number", f"a number from {file.scale.low:g} (worst) to {file.scale.high:g} (best)")
    else:
        mark = Field("label", tuple(file.labels), "the one label that your explanation supports")
    return (
        Field(
            "explanation",
            "string",
            "what the output says, and what is right or wrong with it, in one to three sentences",
        ),
        mark,
        *([TURN_NOTES] if file.turn_notes else []),
        Field(
            "suggestion",
            "string",
            "one general instruction to the writer, beginning with a verb, that would prevent this kind of fault for "
            "other inputs too; 'none' where there is no fault",
            required=False,
        ),
    )


def _columns(inputs: Mapping[str, Json]) -> str:
    """One value as it is; several with their names."""
    if len(inputs) == 1:
        return as_text(next(iter(inputs.values())))
    return "\n".join(f"{name}: {as_text(value)}" for name, value in inputs.items())


def _grade(scale: Scale, given: float) -> float:
    score = scale.share(given)
    if score is None:
        raise ModelError("unparseable", f"the score {given:g} is not a number from {scale.low:g} to {scale.high:g}")
    return score


def _suggestion(values: Mapping[str, Any]) -> str | None:
    text = str(values.get("suggestion") or "").strip()
    return None if text.casefold().strip("'\". ") in _NOTHING else cut_end(text, MAX_SUGGESTION)
