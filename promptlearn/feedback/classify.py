"""What a comment is: a rule for every answer, or something else. Without a language model, by reasons with names.

    found = classify(row.received)
    found.kind, found.reason      # "one_off", "points at a place: “this line”"

Each heuristic is one line of a table, tried in order; the first that fires names itself. They read sanitised text and
know nothing about trust, support or approval: what is a rule for them is a candidate for a person. How often they are
right stands in docs/feedback.md. `promptlearn.feedback.asking` asks a language model the same question.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from promptlearn.comments import Received
from promptlearn.feedback import cues
from promptlearn.feedback.distil import distil, instruction
from promptlearn.feedback.prose import sentences
from promptlearn.feedback.screen import addresses_machine
from promptlearn.meaning import quoted, unquoted
from promptlearn.records import Json
from promptlearn.reviews import path_matches

Kind = Literal["rule", "one_off", "question", "praise", "nit", "out_of_scope"]
KINDS: tuple[Kind, ...] = get_args(Kind)
HEURISTICS = "heuristics@1"


@dataclass(frozen=True, slots=True)
class Classification:
    """What was made of a comment, by whom."""

    kind: Kind
    reason: str
    """Why, for people; names the words that decided."""
    rule: str
    """The comment as one general instruction, whatever its kind; empty where it instructs nobody."""
    by: str = HEURISTICS


def stored_form(classification: Classification) -> Json:
    return asdict(classification)


def read_classification(stored: Json) -> Classification | None:
    """What the store keeps, or None where it keeps nothing that this version can read."""
    try:
        found = Classification(**stored)
    except TypeError:
        return None
    return found if found.kind in KINDS else None


def classify(received: Received, paths: Collection[str] = ()) -> Classification:
    """Kind, reason and rule of a comment. `paths` say which files are prompts (`*`, `**`, `?`); empty: any."""
    remark = _Remark(received, paths)
    for kind, heuristic in _HEURISTICS:
        if reason := heuristic(remark):
            return Classification(kind, reason, distil(remark.instructing if kind == "rule" else remark.best))
    return Classification("one_off", "says nothing that holds for every answer", distil(remark.best))


@dataclass(slots=True)
class _Remark:
    """A comment as the heuristics read it."""

    received: Received
    paths: Collection[str]
    sentences: list[str] = field(init=False)
    instructing: list[str] = field(init=False)
    """The sentences that instruct for every answer, with those that qualify them."""

    def __post_init__(self) -> None:
        self.sentences = sentences(self.received.text)
        self.instructing = _instructing(self.sentences)

    @property
    def first(self) -> str:
        return self.sentences[0] if self.sentences else ""

    @property
    def label(self) -> str:
        match = cues.LABELLED.match(self.first)
        return match[1].lower() if match else ""

    @property
    def best(self) -> list[str]:
        """What a person would begin with who makes a rule of it: what instructs, else what is no praise."""
        if self.instructing:
            return self.instructing
        return [said for said in self.sentences if not cues.PRAISE.match(said) and not said.endswith("?")]


def _instructing(said: Sequence[str]) -> list[str]:
    found: list[str] = []
    goes_on = False
    for sentence in said:
        goes_on = bool(_general(sentence)) or (goes_on and bool(cues.QUALIFIES.match(sentence)))
        if goes_on:
            found.append(sentence)
    return found


def _general(sentence: str) -> str:
    """What makes a sentence an instruction for every answer; empty where it is none."""
    bare = unquoted(sentence)
    always = cues.ALWAYS.search(bare)
    if sentence.rstrip().endswith("?"):
        return _shown("a wish with", always) if cues.WISH.match(sentence) else ""
    if not always and (cues.PLACE.search(bare) or cues.CODE.search(sentence) or _reports(sentence)):
        return ""
    if cues.PRAISE.match(sentence) and not (always or cues.MUST.search(bare)):
        return ""
    said = instruction(sentence)
    if _first_word(said) in cues.EDITING and not always:
        return ""
    return _shown("says", always) or _shown("says", cues.MUST.search(bare)) or _instruction(said, sentence)


def _instruction(said: str, sentence: str) -> str:
    """An instruction by its form: an imperative, what to do in a case, or how things of a kind are dealt with."""
    verb = _first_word(said)
    if verb in cues.VERBS or cues.FORBIDS.match(said):
        return f"begins with an instruction: “{verb}”"
    clauses = re.split(r",|\bthen\b|–", said)
    acts = any(_first_word(clause) in cues.VERBS for clause in clauses[1:])
    condition = cues.WHEN.match(said)
    if condition and (acts or quoted(said) or cues.SOME.search(said)):
        return _shown("says what to do where", condition)
    if not cues.BELONGS.search(unquoted(said)):
        return ""
    if names := quoted(sentence):
        return f"says what belongs to “{names[0]}”"
    return _shown("says what holds for", cues.KIND_OF_THING.match(said))


def _reports(sentence: str) -> bool:
    """Whether somebody tells what they did; `I think we should …` does not."""
    return bool(cues.REPORT.match(sentence)) and not cues.OPINION.match(sentence)


def _first_word(text: str) -> str:
    match = re.match(r"[A-Za-z-]+", text.strip())
    return match[0].lower() if match else ""


def _shown(what: str, match: re.Match[str] | None) -> str:
    return f"{what} “{' '.join(match[0].split())[:40]}”" if match else ""


def _outside(remark: _Remark) -> str:
    comment = remark.received.comment
    if comment.kind == "check":
        return "said by a check, not by a reviewer"
    if comment.path and cues.MACHINE_MADE.search(comment.path):
        return f"about a file that nobody writes by hand: {comment.path}"
    if comment.path and remark.paths and not any(path_matches(comment.path, glob) for glob in remark.paths):
        return f"about a file that is no prompt: {comment.path}"
    return ""


def _to_a_machine(remark: _Remark) -> str:
    words = addresses_machine(remark.received.text)
    return f"speaks to the program that reads it: “{words}”" if words else ""


def _wordless(remark: _Remark) -> str:
    if any(char.isalnum() for said in remark.sentences for char in said):
        return ""
    return "" if cues.PRAISE.match(remark.first) else "suggests a change without a word on it"


def _labelled(*labels: str) -> Callable[[_Remark], str]:
    return lambda remark: f"labelled “{remark.label}:”" if remark.label in labels else ""


def _begins(what: str, pattern: re.Pattern[str]) -> Callable[[_Remark], str]:
    return lambda remark: _shown(what, pattern.match(remark.first))


def _anywhere(what: str, pattern: re.Pattern[str]) -> Callable[[_Remark], str]:
    return lambda remark: next((_shown(what, match) for match in map(pattern.search, remark.sentences) if match), "")


def _instructs(remark: _Remark) -> str:
    return next((reason for said in remark.sentences if (reason := _general(said))), "")


def _asks(remark: _Remark) -> str:
    if not remark.sentences or not remark.sentences[-1].endswith("?"):
        return ""
    asked = remark.sentences[-1]
    wants = cues.WISH.match(asked) and _first_word(instruction(asked)) in cues.EDITING
    return "" if wants else "ends with a question mark"


_HEURISTICS: tuple[tuple[Kind, Callable[[_Remark], str]], ...] = (
    ("out_of_scope", _outside),
    ("out_of_scope", _to_a_machine),
    ("one_off", _wordless),
    ("praise", _labelled("praise")),
    ("nit", _labelled("nit", "nitpick", "polish")),
    ("question", _labelled("question")),
    ("nit", _begins("calls itself small", cues.NIT)),
    ("out_of_scope", _anywhere("about how the change gets in", cues.PROCESS)),
    ("rule", _instructs),
    ("praise", _begins("praises", cues.PRAISE)),
    ("nit", _anywhere("about spelling or spaces", cues.NIT)),
    ("one_off", _begins("tells what somebody did or thinks", cues.REPORT)),
    ("question", _asks),
    ("one_off", _anywhere("points at a place", cues.PLACE)),
    ("one_off", _anywhere("names a piece of code", cues.CODE)),
)
"""Tried in this order."""
