"""What code can check of a rule in words: texts that are forbidden or asked for, bounds, and forms.

    find_checks("Never mention “Acme”; at most 3 sentences.")      # two checks
    find_checks("If the customer is angry, be brief.")             # none: code does not know where it applies

Errs on the side of checking nothing: a rule with a condition, or about a part of an output (the greeting, the title),
is left to a language model. English. Knows texts; no judge and no example.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from promptlearn.judging.excerpt import counted, quote

Complaint: TypeAlias = str
"""What breaks the rule; empty where nothing does."""


@dataclass(frozen=True, slots=True)
class Check:
    """A part of a rule that code can see kept or broken."""

    part: str
    """The words of the rule that it stands for."""
    complain: Callable[[str], Complaint]
    """Takes an output."""


def find_checks(rule: str) -> tuple[Check, ...]:
    """What code can check of a rule; nothing for a rule with a condition."""
    if _CONDITION.search(_STRENGTHENED.sub(" ", _QUOTED.sub(" ", rule))):
        return ()
    return tuple(check for finder in _FINDERS for check in finder(rule))


def is_whole(rule: str, checks: tuple[Check, ...]) -> bool:
    """Whether a rule says nothing beyond what is checked."""
    for check in checks:
        rule = rule.replace(check.part, " ")
    return all(word in _EMPTY for word in _WORD.findall(rule.casefold()))


_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”|‘([^’\n]+)’|(?<!\w)'([^'\n]+)'(?!\w)")
_PROPER = re.compile(r"(?<!\A)(?<![.!?] )\b[A-Z][\w&-]+(?: [A-Z][\w&-]+)*")
_STRENGTHENED = re.compile(r"\beven (?:if|when|where|though)\b[^.;]*", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|when|whenever|where|unless|except|once|until|in case|depending|while)\b"
    r"|\b(?:for|on|in|with|to|about|after|before)\s+(?:an? |the |any |all |every )?(?:\w+ )?"
    r"(?:questions?|customers?|messages?|mails?|e-?mails?|refunds?|returns?|orders?|complaints?|tickets?|requests?)\b"
    r"|\b(?:greetings?|subjects?|titles?|headings?|signatures?|closing|opening|summary|introduction|intro|footer)\b"
    r"|\b(?:the|each|every) (?:first|last|second) (?:line|sentence|paragraph|word)\b"
    r"|\b(?:for|of|in) the (?:label|name)s?\b",
    re.IGNORECASE,
)
"""What narrows a rule down to some inputs, or to a part of an output."""
_WORD = re.compile(r"[\w'’-]+")
_EMPTY = frozenset(
    _WORD.findall(
        "a an and the of or in with use give keep write answer answers reply replies respond output outputs text your "
        "our its it be is are must should shall always ever every each all any only just please make sure that this do "
        "not no never don't long to than more then them as by name names"
    )
)
_COUNTS = {
    name: value
    for value, name in enumerate(_WORD.findall("zero one two three four five six seven eight nine ten eleven twelve"))
} | {"a": 1, "an": 1, "single": 1}
_AMOUNT = rf"(?P<amount>\d+|{'|'.join(_COUNTS)})"
_UNIT = r"(?P<unit>words?|sentences?|characters?|letters?|lines?|paragraphs?|bullet points?|bullets?)"
_SAY = (
    r"(?:mention|say|use|write|include|contain|promise|output|print|name|begin with|start with|end with|close with"
    r"|sign with)"
)
_FORBIDS = re.compile(
    rf"\b(?:never|do not|don['’]t|must not|should not|may not)\s+(?P<verb>{_SAY})\b(?P<what>[^.;]*)", re.IGNORECASE
)
_AVOIDS = re.compile(
    r"\bavoid(?: (?:using|saying|writing))?\s+(?P<what>[^.;]*)|\bno (?=[`\"“‘'])(?P<that>[^.;]*)", re.IGNORECASE
)
_RATHER = re.compile(r"\b(?:use|say|write)\b[^.;]*?\b(?:instead of|rather than)\s+(?P<what>[^.;]*)", re.IGNORECASE)
_ASKS = re.compile(
    r"(?:\A|[.;,:]\s*|\b(?:always|must|should|and|to)\s+)(?P<verb>mention|say|include|contain|begin with|start with"
    r"|end with|close with|sign with)\s+(?:\w+ ){0,3}?(?P<what>(?:`[^`\n]+`|\"[^\"\n]+\"|“[^”\n]+”|‘[^’\n]+’))",
    re.IGNORECASE,
)
_WHOLE = r"\b(?!\s+(?:of|that|about|for|with|and|then|on|per|which|in)\b)"
"""A bound on a part of an output is none on the output."""
_MOST = re.compile(
    rf"\b(?:at most|no more than|not more than|max(?:imum)?(?: of)?|up to|within)\s+{_AMOUNT}\s+{_UNIT}{_WHOLE}", re.I
)
_MOST_AFTER = re.compile(
    rf"\b{_AMOUNT}\s+{_UNIT}\s+(?:or (?:less|fewer)|at (?:most|the most)|max(?:imum)?){_WHOLE}", re.IGNORECASE
)
_BELOW = re.compile(rf"\b(?:fewer than|less than|under|below)\s+{_AMOUNT}\s+{_UNIT}{_WHOLE}", re.IGNORECASE)
_LEAST = re.compile(rf"\b(?:at least|no less than|no fewer than)\s+{_AMOUNT}\s+{_UNIT}{_WHOLE}", re.IGNORECASE)
_EXACT = re.compile(
    r"\b(?:answers?|repl(?:y|ies)|respond|responses?|outputs?)\b"
    r"(?:\s+(?:must|should|has to|needs to|have to|always|only|be|in|with|to|exactly|just))*"
    rf"\s+(?:a single|{_AMOUNT}(?: single)?)\s+{_UNIT}{_WHOLE}",
    re.IGNORECASE,
)


def _quoted(text: str) -> list[str]:
    return [next(filter(None, match.groups())) for match in _QUOTED.finditer(text)]


def _forbidden(rule: str) -> Iterator[Check]:
    """`Never say “x”`; a name needs no quotes: `never mention Acme`."""
    for match in _FORBIDS.finditer(rule):
        verb = match["verb"].casefold()
        for literal in _quoted(match["what"]) or _PROPER.findall(" " + match["what"]):
            yield Check(match[0].strip(), _placed(verb, literal, wanted=False))
    for pattern in (_AVOIDS, _RATHER):
        for match in pattern.finditer(rule):
            for literal in _quoted(next(filter(None, match.groups()), "")):
                yield Check(match[0].strip(), _placed("use", literal, wanted=False))


def _asked_for(rule: str) -> Iterator[Check]:
    """`Always end with “x”`."""
    for match in _ASKS.finditer(rule):
        for literal in _quoted(match["what"]):
            yield Check(match[0].strip(" ,.;:"), _placed(match["verb"].casefold(), literal, wanted=True))


def _placed(verb: str, literal: str, wanted: bool) -> Callable[[str], Complaint]:
    folded = " ".join(literal.casefold().split())
    anywhere = re.compile(rf"(?<!\w){re.escape(folded)}(?!\w)")

    def complain(output: str) -> Complaint:
        text = " ".join(output.casefold().split())
        if verb.startswith(("begin", "start")):
            there, where = text.startswith(folded), "begins with"
        elif verb.startswith(("end", "close", "sign")):
            there, where = text.rstrip(" .!").endswith(folded.rstrip(" .!")), "ends with"
        else:
            there, where = anywhere.search(text) is not None, "has"
        if there is wanted:
            return ""
        return f"it {where} {quote(literal)}" if there else f"{quote(literal)} is not what it {where}"

    return complain


def _bounded(rule: str) -> Iterator[Check]:
    """`At most 3 sentences`, `fewer than 50 words`, `one word`."""
    taken = rule
    for pattern, least, most in (
        (_MOST, None, 0),
        (_MOST_AFTER, None, 0),
        (_BELOW, None, -1),
        (_LEAST, 0, None),
        (_EXACT, 0, 0),
    ):
        for match in pattern.finditer(taken):
            amount = _amount(match)
            low = None if least is None else amount + least
            high = None if most is None else amount + most
            yield Check(match[0], _within(match["unit"].casefold(), low, high))
        taken = pattern.sub(" ", taken)


def _amount(match: re.Match[str]) -> int:
    said = (match["amount"] or "a").casefold()
    return int(said) if said.isdigit() else _COUNTS[said]


def _within(unit: str, low: int | None, high: int | None) -> Callable[[str], Complaint]:
    name = unit.removesuffix("s")

    def complain(output: str) -> Complaint:
        number = _count(name, output)
        if high is not None and number > high:
            return f"{counted(number, name)} where at most {counted(high, name)} should be"
        if low is not None and number < low:
            return f"{counted(number, name)} where at least {counted(low, name)} should be"
        return ""

    return complain


def _count(unit: str, text: str) -> int:
    if unit == "word":
        return len(text.split())
    if unit == "sentence":
        return len([part for part in _SENTENCE_END.split(text.strip()) if re.search(r"\w", part)])
    if unit in ("character", "letter"):
        return len(text.strip())
    if unit == "line":
        return len([line for line in text.splitlines() if line.strip()])
    if unit == "paragraph":
        return len([part for part in re.split(r"\n[ \t]*\n", text) if part.strip()])
    return len(re.findall(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+\S", text, re.MULTILINE))


_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+(?![a-z])")


def _formed(rule: str) -> Iterator[Check]:
    """Lower case, no emoji, no Markdown, … whatever else is seen without reading."""
    for pattern, complain in _FORMS:
        for match in pattern.finditer(rule):
            yield Check(match[0], complain)


def _has_not(pattern: str, what: str, flags: int = 0) -> Callable[[str], Complaint]:
    compiled = re.compile(pattern, flags)

    def complain(output: str) -> Complaint:
        match = compiled.search(output)
        return f"it has {what}: {quote(match[0])}" if match else ""

    return complain


def _is_cased(how: str) -> Callable[[str], Complaint]:
    def complain(output: str) -> Complaint:
        wanted = output.lower() if how == "lower" else output.upper()
        return "" if output == wanted else f"{quote(output)} is not all {how} case"

    return complain


def _is_json(output: str) -> Complaint:
    try:
        json.loads(output)
    except ValueError:
        return f"{quote(output)} is no JSON"
    return ""


_NO = (
    r"\b(?:no|never(?: use| write)?|do not (?:use|write|add)|don['’]t (?:use|write|add)|avoid|without)\s+"
    r"(?:any |an? |the )?(?:[\w-]+(?: [\w-]+)?(?:,| or| and| nor)\s+)*"
)
_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], Complaint]], ...] = (
    (re.compile(r"\blower[ -]?case\b(?!\s+(?:or|for|in)\b)", re.I), _is_cased("lower")),
    (
        re.compile(r"\b(?:upper[ -]?case|all caps|capital letters only)\b(?!\s+(?:or|for|in)\b)", re.I),
        _is_cased("upper"),
    ),
    (re.compile(_NO + r"exclamation (?:marks?|points?)", re.I), _has_not(r"[!！]", "an exclamation mark")),
    (re.compile(_NO + r"question marks?", re.I), _has_not(r"[?？]", "a question mark")),
    (
        re.compile(_NO + r"emojis?\b", re.I),
        _has_not("[\u2600-\u27bf\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff]", "an emoji"),
    ),
    (
        re.compile(_NO + r"markdown\b|\bplain text(?: only)?\b", re.I),
        _has_not(r"^#{1,6}\s|\*\*\S|^[ \t]*[-*+]\s+\S|```|\[[^\]\n]+\]\([^)\n]+\)", "Markdown", re.MULTILINE),
    ),
    (
        re.compile(_NO + r"(?:bullet points?|bullets|bulleted lists?|lists)\b", re.I),
        _has_not(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+\S", "a list", re.MULTILINE),
    ),
    (re.compile(_NO + r"(?:links?|urls?)\b", re.I), _has_not(r"\b(?:https?://|www\.)\S+", "a link", re.IGNORECASE)),
    (re.compile(_NO + r"(?:semicolons?)\b", re.I), _has_not(r";", "a semicolon")),
    (
        re.compile(_NO + r"(?:trailing |closing |final )?(?:full stop|period)(?: at the end)?\b", re.I),
        _has_not(r"\.\s*\Z", "a full stop at its end"),
    ),
    (re.compile(r"\b(?:valid |as |in |only )JSON\b"), _is_json),
)
_FINDERS: tuple[Callable[[str], Iterator[Check]], ...] = (_forbidden, _asked_for, _bounded, _formed)
