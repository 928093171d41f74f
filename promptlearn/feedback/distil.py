"""From the words of a comment to one general instruction, without a language model.

Takes the sentences that instruct, as they stand, and takes off what was said to a colleague and not to a prompt:
greetings, mentions, thanks, "I think", "could we please". Adds no word but what an imperative needs. Knows sentences
and nothing about comments, stores or models.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from promptlearn.hidden import visible

MAX_RULE = 400
"""Characters of a rule, as proposers have it."""

_MENTION = re.compile(r"(?<![\w/.])@[\w-]+(?:\[bot\])?,?:?\s*")
_LABEL = re.compile(
    r"\A(?:suggestion|issue|todo|chore|note|thought|nit|nitpick|polish|question|praise|minor|optional|rule)"
    r"(?:\s*\([^)]*\))?\s*:\s*",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"\A(?:(?:hey|hi|hello|hmm?|well|ok|okay|yes|yeah|no|so|also|and|but|btw|by the way|fyi|imh?o|actually|honestly"
    r"|again|just|maybe|perhaps|one thing|small thing|minor|thanks|thank you|nice|great|good|lgtm|looks good"
    r"|please note|note|reminder|general(?:ly)? (?:note|remark)|as (?:discussed|agreed|said|mentioned|per)[^:,]{0,50}"
    r"|in (?:my|our) (?:opinion|view|experience)|from now on|going forward|in future|in the future)\s*[,:;!–-]+\s*"
    r"|(?:so|and|but|also|then|just|imh?o|btw|fyi)\s+"
    r"|(?:please note|note|remember) that\s+"
    r"|(?:i|we) (?:really |also |still )?(?:think|believe|feel|guess|find|would say|agreed|agree)(?: that| like)?,?\s+"
    r"|i'd say(?: that)?,?\s+|it would be (?:good|nice|better|great) (?:if|to)\s+)",
    re.IGNORECASE,
)
_PLEASE = re.compile(r"\A(?:please|pls|plz)\s*[,:–-]*\s+|,?\s+(?:please|pls|plz)(?=\s*[.!?]?\Z)", re.IGNORECASE)
_ASKED = re.compile(
    r"\A(?:(?:could|can|would|will|should|shouldn'?t|couldn'?t|can'?t|might) (?:you|we|it|the bot)"
    r"|(?:how|what) about|why (?:not|don'?t we))\s+(?P<rest>.+?)\s*\?+\Z",
    re.IGNORECASE,
)
_SUBJECT = re.compile(
    r"\A(?:we|you|one|(?P<it>it|the (?:bot|model|assistant|prompt|agent|ai)))\s+"
    r"(?:(?P<early>always|never|also|really|just|only)\s+)?"
    r"(?:should|must|need(?:s)? to|ha(?:ve|s) to|ought to|shall)(?P<nt>n'?t)?\s+"
    r"(?P<late>(?:not|never|always|only|also|really)\s+)?(?P<rest>.+)\Z",
    re.IGNORECASE,
)
_LETS = re.compile(r"\Alet(?:'|’)?s\s+(?P<no>not\s+)?", re.IGNORECASE)
_TRAILING = re.compile(
    r"[,;–-]*\s+(?:imh?o|i think|thanks|thank you|thx|ok\?|right\?|no\?|if possible|if you (?:can|like|don'?t mind))"
    r"(?=\s*[.!?]*\Z)",
    re.IGNORECASE,
)
_ENDS = ".!?…"


def distil(sentences: Iterable[str]) -> str:
    """One line that tells what to do, of at most `MAX_RULE` characters; empty where nothing is left to say.

    Whole sentences only: the one that would make it too long is left out, with all that follow.
    """
    rule = ""
    for sentence in sentences:
        said = instruction(sentence)
        longer = f"{rule} {said}".strip()
        if said and len(longer) > MAX_RULE:
            break
        rule = longer
    return rule


def instruction(sentence: str) -> str:
    """One sentence as an instruction."""
    text = _MENTION.sub("", " ".join(visible(sentence).split()))
    before = None
    while text != before:
        before = text
        for opening in (_LABEL, _OPENING, _PLEASE):
            text = opening.sub("", text, count=1).strip()
    text = _TRAILING.sub("", text)
    if asked := _ASKED.match(text):
        text = asked["rest"].removeprefix("please ").removesuffix(" please")
    text = _LETS.sub(lambda match: "do not " if match["no"] else "", text)
    subject = _SUBJECT.match(text)
    if subject and not (subject["it"] and subject["rest"].startswith("be ")):
        text = _imperative(subject)
    if not any(char.isalnum() for char in text):
        return ""
    text = text if text.startswith(("`", '"', "“")) else text[0].upper() + text[1:]
    return text if text[-1] in _ENDS else text.rstrip(",;:–- ") + "."


def _imperative(match: re.Match[str]) -> str:
    """`we should never say x` as `never say x`."""
    adverb = (match["early"] or match["late"] or "").strip().lower()
    if match["nt"] or adverb == "not":
        return f"do not {match['rest']}"
    return f"{adverb} {match['rest']}" if adverb in ("always", "never", "only") else match["rest"]
