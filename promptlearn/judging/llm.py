"""LLMJudge: a judge's file put to a model, and the reply read as a verdict.

Knows records, templates and the Model protocol; knows no endpoint, store or budget. What is under judgement is data
(invariant 9): secrets are taken out, long texts are cut with a mark, and each text stands in a fence of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from promptlearn.errors import ConfigError, DataError, ModelError, SystemicError
from promptlearn.hidden import visible
from promptlearn.judging.asset import JudgeFile
from promptlearn.judging.checklist import as_list, checks_field, label_of, read_checks, share_met, unmet_words
from promptlearn.judging.checks import need_expected
from promptlearn.judging.evidence import Conversation, evidence_text, show_conversation
from promptlearn.judging.excerpt import cut_end, cut_middle
from promptlearn.judging.finding import not_judged
from promptlearn.judging.turn_notes import FIELD as TURN_NOTES
from promptlearn.judging.turn_notes import read_turn_notes
from promptlearn.models.base import Model
from promptlearn.models.structured import Field, complete_fields
from promptlearn.records import (
    CriterionVerdict,
    Example,
    Failure,
    Json,
    Message,
    Rollout,
    TurnNote,
    Usage,
    Verdict,
    as_text,
    fingerprint,
)
from promptlearn.redaction import redact
from promptlearn.template import call_nonce, fence, render

MAX_EXPLANATION = 2000
MAX_SUGGESTION = 600
_NOTHING = frozenset({"", "none", "n/a", "na", "null", "nothing", "no", "-"})


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
            self._checks(values, shown)
            self._notes(values, rollout)

        try:
            reply = await complete_fields(
                self.model, self._messages(shown), self._fields, repeat=repeat, check=make_sense
            )
        except SystemicError:
            raise
        except ModelError as error:
            failure = Failure(error.kind, str(error))
            return not_judged(self.name, rollout, failure, kind="llm", source=self.source)
        verdict = self._verdict(rollout, reply.values, reply.usage, self._checks(reply.values, shown))
        return replace(verdict, turn_notes=self._notes(reply.values, rollout))

    def messages(self, example: Example, rollout: Rollout) -> tuple[Message, ...]:
        """What the model is asked. The same example and rollout give the same bytes, as the journal needs.

        The nonce stands in the user message alone, so that the system message can be cached by its prefix.
        """
        return self._messages(self._shown(example, rollout))

    def question(self, example: Example, rollout: Rollout) -> str:
        """Names what the model is asked: the journal gives one verdict to all rollouts with the same question."""
        return fingerprint([message.content for message in self.messages(example, rollout)])

    def _shown(self, example: Example, rollout: Rollout) -> dict[str, str]:
        """The material as the judge sees it, but for its fences."""
        material = {
            key: cut_middle(self._clean(text), self.options.max_chars)
            for key, text in self._material(example, rollout).items()
        }
        if rollout.evidence:
            self._add_evidence(material, rollout)
        return material

    def _messages(self, material: Mapping[str, str]) -> tuple[Message, ...]:
        nonce = call_nonce([*material.values()], f"{self.file.name}@{self.file.version}")
        values: dict[str, Json] = {key: fence(text, nonce, key) for key, text in material.items()}
        values |= self.settings
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

    def _checks(self, values: Mapping[str, Json], shown: Mapping[str, str]) -> tuple[CriterionVerdict, ...]:
        if not self.checklist:
            return ()
        return read_checks(values.get("checks"), self.checklist, "\n".join(shown.values()))

    def _notes(self, values: Mapping[str, Json], rollout: Rollout) -> tuple[TurnNote, ...]:
        if not self.file.turn_notes:
            return ()
        return read_turn_notes(values.get("turn_notes"), self._conversation(rollout).turns)

    def _conversation(self, rollout: Rollout) -> Conversation:
        return show_conversation(rollout, self.options.max_chars, self._clean)

    @property
    def _criteria(self) -> str:
        if self.checklist:
            return as_list(self.checklist)
        return (self.options.criteria or self.file.criteria).strip()

    def _material(self, example: Example, rollout: Rollout) -> dict[str, str]:
        column = self.options.context
        every = {
            "input": _columns(example.inputs),
            "output": rollout.output,
            "expected": "" if example.expected is None else as_text(example.expected),
            "context": as_text({**example.metadata, **example.inputs}[column]) if column else _columns(example.inputs),
            "conversation": self._conversation(rollout).text or rollout.output,
            "evidence": "",
        }
        return {key: every[key] for key in self.file.inputs if key != "criteria"}

    def _add_evidence(self, material: dict[str, str], rollout: Rollout) -> None:
        """Where the file asks for it; behind the output where it does not, as a command's output says little alone."""
        key = "evidence" if "evidence" in material else "output"
        shown = evidence_text(rollout, self.options.max_chars, self._clean)
        material[key] = "\n\n".join(filter(None, (material[key].strip(), shown)))

    def _clean(self, text: str) -> str:
        """Without secrets, and as a reader sees it: what only a model would read may be meant for the judge."""
        whole = redact(text, self._secrets)
        seen = visible(whole)
        return seen if seen == whole else f"{seen}\n[… {len(whole) - len(seen):,} hidden characters taken out …]"

    def _verdict(
        self, rollout: Rollout, values: Mapping[str, Any], usage: Usage, checks: tuple[CriterionVerdict, ...]
    ) -> Verdict:
        explanation = str(values.get("explanation") or "").strip()
        label: str | None
        score: float | None
        if checks:
            label, score = label_of(checks), share_met(checks)
            explanation = explanation and f"{explanation}{unmet_words(checks, self.checklist)}"
        else:
            label, score = _label(self.file, values) if self.file.labels else (None, _grade(self.file, values))
        if score is None or not explanation:
            failure = Failure("unparseable", _complaint(self.file, values, explanation))
            return not_judged(self.name, rollout, failure, kind="llm", source=self.source, usage=usage)
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
            source=self.source,
            usage=usage,
            criteria=checks,
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


def _label(file: JudgeFile, values: Mapping[str, Any]) -> tuple[str | None, float | None]:
    given = str(values.get("label") or "").strip().casefold()
    for label, score in file.labels.items():
        if label.casefold() == given:
            return label, score
    return None, None


def _grade(file: JudgeFile, values: Mapping[str, Any]) -> float | None:
    value = values.get("score")
    if file.scale is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return file.scale.share(value)


def _complaint(file: JudgeFile, values: Mapping[str, Any], explanation: str) -> str:
    if not explanation:
        return "the judge gave no explanation"
    if file.scale:
        given, possible = values.get("score"), f"a number from {file.scale.low:g} to {file.scale.high:g}"
    else:
        given, possible = values.get("label"), f"one of {', '.join(file.labels)}"
    return f"the judge answered {cut_end(repr(given), 80)}, not {possible}"


def _suggestion(values: Mapping[str, Any]) -> str | None:
    text = str(values.get("suggestion") or "").strip()
    return None if text.casefold().strip("'\". ") in _NOTHING else cut_end(text, MAX_SUGGESTION)
