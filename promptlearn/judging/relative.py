"""RelativeJudge: answers to one example against each other, ranked in one call, or two of them with positions swapped.

    judge = RelativeJudge(model, criteria="Polite, and names the next step.")
    verdicts = await judge.rank(example, rollouts, seed=7)     # one per rollout, best 1.0, worst 0.0
    first, second = await judge.compare(example, one, other)   # two calls; 0.5 each where the order decided

Relative judgements tell good from better where a scale has one word for both, and need no calibration; they say nothing
about whether any answer is good. Models prefer positions (Zheng et al. 2023, "Judging LLM-as-a-Judge"), so the order is
shuffled with a seed, or both orders are asked. Answers are matched by the name that they bear in the call; a missing,
doubled or unknown name is no ranking (invariant 4). An answer is shown with its turns and what a command left
behind; answers that are identical in all of that are shown once and share their verdict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from string import ascii_uppercase
from typing import NamedTuple

from promptlearn.errors import ConfigError, ModelError, SystemicError
from promptlearn.judging.checklist import as_lines
from promptlearn.judging.evidence import evidence_text, show_conversation
from promptlearn.judging.excerpt import as_seen, cut_end, cut_middle, quote
from promptlearn.judging.finding import not_judged
from promptlearn.meta_prompt import MetaPromptFile
from promptlearn.models.base import Model
from promptlearn.models.structured import Field, complete_fields
from promptlearn.records import Example, Failure, Json, Message, Rollout, Usage, Verdict, as_text, fingerprint
from promptlearn.template import call_nonce, fence, render

MOST = len(ascii_uppercase)
"""Different answers in one call."""
IDENTICAL = "identical"
"""The label where there was nothing to compare."""
_MAX_WORDS = 600
_NOTE = re.compile(
    r"\W*(?:answer\s+)?(?P<name>[A-Z])[^\w:|)-]*[:|)-]\s*+(?P<words>\W*+\w.*)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:answer\s+)?([A-Z])", re.IGNORECASE)
CRITERIA = "It answers what was asked, is true as far as you can tell, and is no longer than needed."
"""What makes an answer better, where nobody says."""


class _Answer(NamedTuple):
    """What is shown of one answer, each part in a fence of its own: an answer can not write its own evidence."""

    output: str
    turns: str
    evidence: str

    @property
    def texts(self) -> list[str]:
        return [self.output, *filter(None, self[1:])]

    def fenced(self, name: str, nonce: str) -> str:
        said = f"Answer {name}:\n{fence(self.output, nonce, name)}"
        if self.turns:
            said += f"\n\nThe turns of answer {name}:\n{fence(self.turns, nonce, f'{name} turns')}"
        if self.evidence:
            said += f"\n\nWhat answer {name} left behind:\n{fence(self.evidence, nonce, f'{name} evidence')}"
        return said


@dataclass(frozen=True, slots=True)
class Ranking:
    """What one call said."""

    places: Mapping[str, float]
    """Name → 1 for the best, 0 for the worst; equals share the mean of their places."""
    notes: Mapping[str, str]
    usage: Usage


class RelativeJudge:
    """Judges answers to one example against each other."""

    def __init__(
        self,
        model: Model,
        criteria: str = CRITERIA,
        *,
        name: str = "ranking",
        file: MetaPromptFile | None = None,
        max_chars: int = 4000,
        secrets: Sequence[str] = (),
    ) -> None:
        """`max_chars` is what is shown of one answer, of its turns and its evidence, of the input and of the expected
        answer; `secrets` of none."""
        self.name = name
        self._model = model
        self._criteria = criteria.strip()
        self._file = file or MetaPromptFile.load("rank")
        self._max_chars = max_chars
        self._secrets = tuple(secrets)

    @property
    def source(self) -> str:
        return f"{self._file.name}@{self._file.version} {self._model.name}"

    async def rank(self, example: Example, rollouts: Sequence[Rollout], seed: int = 0) -> tuple[Verdict, ...]:
        """One verdict per rollout, in their order; a failed one is not judged, nor is any where the ranking failed.

        The first of a group bears what its call cost. Raises `SystemicError`, and `ConfigError` for more than `MOST`
        different answers.
        """
        given = [self._shown(rollout) for rollout in rollouts]
        answers = {answer for answer, rollout in zip(given, rollouts, strict=True) if rollout.error is None}
        if len(answers) > MOST:
            raise ConfigError(f"{len(answers)} different answers are too many for one call; rank at most {MOST}")
        if len(answers) < 2:
            same = {answer: Verdict(self.name, "", 0.5, IDENTICAL, "all answers are the same") for answer in answers}
            return self._share(rollouts, given, same, Usage())
        shown = sorted(answers)
        texts = ["\n\n".join(answer.texts) for answer in shown]
        Random(fingerprint([seed, example.id, texts])).shuffle(shown)  # noqa: S311  # an order, not a secret
        ranking = await self._ask(example, shown)
        if isinstance(ranking, Failure):
            return tuple(self._failed(rollout, ranking) for rollout in rollouts)
        found = {answer: self._placed(name, ranking) for name, answer in zip(ascii_uppercase, shown, strict=False)}
        return self._share(rollouts, given, found, ranking.usage)

    async def compare(self, example: Example, first: Rollout, second: Rollout) -> tuple[Verdict, Verdict]:
        """Both orders are asked: 1 and 0 where they agree, 0.5 each where they do not (`swapped`) or see equals."""
        pair = (first, second)
        answers = [self._shown(rollout) for rollout in pair]
        if any(rollout.error for rollout in pair) or answers[0] == answers[1]:
            one, other = await self.rank(example, pair)
            return one, other
        said: list[Ranking] = []
        for order in (answers, answers[::-1]):
            ranking = await self._ask(example, order)
            if isinstance(ranking, Failure):  # one order says nothing alone, so the other is not paid for
                return self._failed(first, ranking), self._failed(second, ranking)
            said.append(ranking)
        straight, turned = said
        return self._both(pair, straight, turned)

    def _both(self, pair: tuple[Rollout, Rollout], straight: Ranking, turned: Ranking) -> tuple[Verdict, Verdict]:
        places = straight.places["A"], turned.places["B"]
        score = sum(places) / 2 if places[0] == places[1] else 0.5
        swapped = places[0] != places[1]
        labels = ["swapped" if swapped else _outcome(name, straight.places) for name in "AB"]
        words = (f"{straight.notes['A']} / {turned.notes['B']}", f"{straight.notes['B']} / {turned.notes['A']}")
        usages = straight.usage + turned.usage, Usage()
        made = [
            self._verdict(rollout, own, label, said, usage)
            for rollout, own, label, said, usage in zip(pair, (score, 1 - score), labels, words, usages, strict=True)
        ]
        return made[0], made[1]

    async def _ask(self, example: Example, answers: Sequence[_Answer]) -> Ranking | Failure:
        names = list(ascii_uppercase[: len(answers)])
        fields = (
            Field("notes", "string", f"one line for each of {', '.join(names)}: `NAME: what is good and bad about it`"),
            Field(
                "ranking", "string", "all names, the best first, with > between better and worse and = between equals"
            ),
        )

        def make_sense(values: Mapping[str, Json]) -> None:
            read_notes(values["notes"], names)
            read_ranking(values["ranking"], names)

        try:
            reply = await complete_fields(self._model, self._messages(example, answers), fields, check=make_sense)
        except SystemicError:
            raise
        except ModelError as error:
            return Failure(error.kind, str(error))
        values = reply.values
        return Ranking(read_ranking(values["ranking"], names), read_notes(values["notes"], names), reply.usage)

    def _messages(self, example: Example, answers: Sequence[_Answer]) -> tuple[Message, ...]:
        inputs = "\n".join(f"{name}: {as_text(value)}" for name, value in example.inputs.items())
        expected = "" if example.expected is None else as_text(example.expected)
        given = [*map(self._cut, (inputs, expected))]
        parts = [part for answer in answers for part in answer.texts]
        nonce = call_nonce([*given, *parts], f"{self._file.name}@{self._file.version}")
        named = zip(ascii_uppercase, answers, strict=False)
        values: dict[str, Json] = {
            "criteria": self._criteria,
            "input": fence(given[0], nonce, "input"),
            "expected": fence(given[1], nonce, "expected") if given[1] else "",
            "answers": "\n\n".join(answer.fenced(name, nonce) for name, answer in named),
        }
        return (
            Message("system", render(self._file.system, values, self._file.name).strip()),
            Message("user", render(self._file.template, values, self._file.name).strip()),
        )

    def _shown(self, rollout: Rollout) -> _Answer:
        """An answer and what happened, as other judges are shown it."""
        turns = show_conversation(rollout, self._max_chars, self._clean).text
        evidence = evidence_text(rollout, self._max_chars, self._clean)
        return _Answer(self._cut(rollout.output), turns, evidence)

    def _cut(self, text: str) -> str:
        return cut_middle(self._clean(text), self._max_chars)

    def _clean(self, text: str) -> str:
        return as_seen(text, self._secrets)

    def _placed(self, name: str, ranking: Ranking) -> Verdict:
        place = ranking.places[name]
        return Verdict(self.name, "", place, _outcome(name, ranking.places), cut_end(ranking.notes[name], _MAX_WORDS))

    def _share(
        self, rollouts: Sequence[Rollout], given: Sequence[_Answer], found: Mapping[_Answer, Verdict], usage: Usage
    ) -> tuple[Verdict, ...]:
        verdicts = []
        for rollout, answer in zip(rollouts, given, strict=True):
            if rollout.error is not None:
                verdicts.append(self._failed(rollout, rollout.error))
                continue
            one = found[answer]
            verdicts.append(self._verdict(rollout, one.score or 0.0, one.label or "", one.explanation, usage))
            usage = Usage()
        return tuple(verdicts)

    def _verdict(self, rollout: Rollout, score: float, label: str, words: str, usage: Usage) -> Verdict:
        made = Verdict(self.name, rollout.id, score, label, words, kind="llm", source=self.source)
        return replace(made, usage=usage)

    def _failed(self, rollout: Rollout, failure: Failure) -> Verdict:
        return not_judged(self.name, rollout, failure, kind="llm", source=self.source)


def read_ranking(raw: Json, names: Sequence[str]) -> dict[str, float]:
    """`B > A = C` as places: 1 for the best, 0 for the worst. Raises `ModelError("unparseable")`."""
    tiers = [[_name(token) for token in tier.split("=")] for tier in str(raw or "").strip().split(">")]
    listed = [name for tier in tiers for name in tier]
    unknown = [name for name in listed if name not in names]
    if unknown:
        raise ModelError("unparseable", f"the ranking names {quote(unknown[0])}; the answers are {', '.join(names)}")
    if len(set(listed)) < len(listed):
        double = next(name for name in listed if listed.count(name) > 1)
        raise ModelError("unparseable", f"the ranking has {double} twice; give each answer one place")
    missing = [name for name in names if name not in listed]
    if missing:
        raise ModelError("unparseable", f"the ranking leaves out {missing[0]}; give all of {', '.join(names)} a place")
    places: dict[str, float] = {}
    above = 0
    for tier in tiers:
        middle = above + (len(tier) - 1) / 2
        places |= dict.fromkeys(tier, 1 - middle / (len(names) - 1))
        above += len(tier)
    return places


def read_notes(raw: Json, names: Sequence[str]) -> dict[str, str]:
    """What is said about each answer. Raises `ModelError("unparseable")` for a missing, doubled or unknown name."""
    found: dict[str, str] = {}
    for line in as_lines(raw):
        match = _NOTE.fullmatch(line)
        name = match["name"].upper() if match else ""
        if match is None or name not in names:
            raise ModelError("unparseable", f"the note {quote(line)} is about none of {', '.join(names)}")
        if name in found:
            raise ModelError("unparseable", f"answer {name} has two notes; give each answer one line")
        found[name] = match["words"].strip()
    missing = [name for name in names if name not in found]
    if missing:
        raise ModelError("unparseable", f"answer {missing[0]} has no note; give each of {', '.join(names)} one line")
    return found


def _name(token: str) -> str:
    bare = token.strip().strip("\"'.`*()[] ")
    match = _NAME.fullmatch(bare)
    return match[1].upper() if match else bare


def _outcome(name: str, places: Mapping[str, float]) -> str:
    place = places[name]
    if [*places.values()].count(place) > 1:
        return "equal"
    return "best" if place == 1 else "worst" if place == 0 else "between"
