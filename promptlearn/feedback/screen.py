"""What speaks against a text as a rule, whoever wrote it: things that no prompt takes, and words meant for a machine.

A tripwire, not a proof: it keeps obvious attacks out of approvals by the dozen, and shows a person who approves one by
one what to look at. What it lets through still needs that person, and the contract of the prompt (invariants 6 and 9).
"""

from __future__ import annotations

import re
from dataclasses import replace

from promptlearn.contract import violations
from promptlearn.feedback.distil import MAX_RULE
from promptlearn.hidden import find_hidden
from promptlearn.records import Prompt, Rule

_ABOUT = r"(?:all |any |the |your |my |these |those |previous |prior |above |earlier |other |existing |system |every )"
_MACHINE = (
    re.compile(
        rf"\b(?:ignore|disregard|forget|override|overrule|bypass|skip|drop)\s+{_ABOUT}+"
        r"(?:instructions?|rules?|prompts?|guidelines?|checks?|context|text|messages?|contract)\b"
        r"|\b(?:ignore|disregard|forget) (?:everything|all of (?:this|that|the)|what (?:you|was))\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\byou are (?:now|no longer)\b|\bact as (?:an?|the) (?:admin|root|developer|optimi[sz]er|system)\b", re.I
    ),
    re.compile(r"(?:^|[\n>*#-])\s*(?:system|assistant|developer)\s*:", re.IGNORECASE),
    re.compile(
        r"\b(?:note|message|instructions?|attention|dear|hey|hello)\b[^.!?\n]{0,20}\b"
        r"(?:ai|llm|optimi[sz]er|classifier|language model|agent that reads)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:classify|mark|label|treat|rate|score|approve|accept|consider)\s+(?:this|my|the following)\b"
        r"[^.!?\n]{0,30}\b(?:comment|review|rule|suggestion|message|approved|trusted|rule-?worthy)\b|\b(?:auto|pre)-?approved?\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?<!never )(?<!not )(?<!n't )\b"
        r"(?:reveal|print|leak|exfiltrate|send|forward|post|upload|e-?mail|repeat|output)\s+(?:(?:me|us|them|out|back)\s+)?(?:[\w'’-]+\s+){0,3}"
        r"(?:system prompt|instructions|api[ -]?keys?|secrets?|credentials|tokens?|passwords?|environment variables?"
        r"|card numbers?|customer data|conversation)\b",
        re.IGNORECASE,
    ),
    re.compile(r"\b(?:prompt injection|jailbreak|developer mode|do anything now)\b", re.IGNORECASE),
)
_SUSPECT_MARKS = re.compile(r"<{3,}|>{3,}|\[/?INST\]|<\|[\w-]+\|>|</?(?:system|instructions?|prompt|rules?)>", re.I)


def objections(rule: str) -> tuple[str, ...]:
    """Why `rule` can not stand in a prompt at all: nothing but a change of its words helps. Empty: it could."""
    if not rule.strip():
        return ("it says nothing",)
    bare = Prompt.of("Answer.")
    found = violations(replace(bare, rules=(Rule(rule),)), bare)
    if any(True for _ in find_hidden(rule)) and not any("hidden" in one for one in found):
        found.append("a hidden character")
    if len(rule) > MAX_RULE:
        found.append(f"{len(rule)} characters; a rule has at most {MAX_RULE}")
    if mark := _SUSPECT_MARKS.search(rule):
        found.append(f"a mark that belongs to no sentence: {mark[0]!r}")
    return tuple(found)


def addresses_machine(text: str) -> str:
    """The words that speak to a program that reads comments rather than about answers; empty where there are none."""
    for pattern in _MACHINE:
        if match := pattern.search(text):
            return " ".join(match[0].split())[:80]
    return ""
