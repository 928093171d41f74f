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

_ADDRESSED = re.compile(
    r"\A(?:@[\w-]+(?:\[bot\])?[,:]?\s+)+|[,;–-]*\s+cc:?(?:\s+@[\w-]+,?)+\s*(?=[.!?]*\Z)", re.IGNORECASE
)
"""Mentions of those to whom it was said; one in the midst of a sentence may be what it is about."""
_LABEL = re.compile(
    r"\A(?:suggestion|issue|todo|chore|note|thought|nit|nitpick|polish|question|praise|minor|optional|rule)"
    r"(?:\s*\([^)]*\))?\s*:\s*",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"\A(?:(?:hey|hi|hello|hmm?|well|ok|okay|yes|yeah|no|so|also|and|but|btw|by the way|fyi|imh?o|actually|honestly"
    r"|again|just|maybe|perhaps|one thing|small thing|minor|lgtm|looks good"
    r"|please note|note|reminder|general(?:ly)? (?:note|remark)|as (?:discussed|agreed|said|mentioned|per)[^:,]{0,50}"
    r"|in (?:my|our) (?:opinion|view|experience)|from now on|going forward|in future|in the future)\s*[,:;!–-]+\s*"
    r"|(?:thanks|thank you|nice|great|good)\s*[,!–-]+\s*"  # no colon: `Thanks: …` is about a label
    r"|(?:so|and|but|also|then|just|imh?o|btw|fyi)\s+"
    r"|(?:please note|note|remember) that\s+"
    r"|(?:i|we) (?:really |also |still )?(?:think|believe|feel|guess|find|would say|agreed|agree)(?: that| like)?,?\s+"
    r"|i'd say(?: that)?,?\s+|it would be (?:good|nice|better|great) (?:if|to)\s+)",
    re.IGNORECASE,
)
_PLEASE = re.compile(r"\A(?:please|pls|plz)\s*[,:–-]*\s+|,\s+(?:please|pls|plz)(?=\s*[.!?]?\Z)", re.IGNORECASE)
_ASKED = re.compile(
    r"\A(?:(?:could|can|would|will|should|shouldn'?t|couldn'?t|can'?t|might) (?:you|we|it|the bot)"
    r"|(?:how|what) about|why (?:not|don'?t we))\s+(?P<rest>.+?)\s*\?+\Z",
    re.IGNORECASE,
)
_ADVERBS = r"(?:(?:not|never|always|only|also|really|just)\s+)*"
_SUBJECT = re.compile(
    r"\A(?:we|you|one|(?P<it>it|the (?:bot|model|assistant|prompt|agent|ai)))\s+"
    rf"(?P<early>{_ADVERBS})"
    r"(?:should|must|need(?:s)? to|ha(?:ve|s) to|ought to|shall)(?P<nt>n['’]?t)?\s+"
    rf"(?P<late>{_ADVERBS})(?P<rest>.+)\Z",
    re.IGNORECASE,
)
_LETS = re.compile(r"\Alet(?:'|’)?s\s+(?P<no>not\s+)?", re.IGNORECASE)
_TRAILING = re.compile(
    r"[,;–-]*\s+(?:imh?o|i think)(?=\s*[.!?]*\Z)|[,;–-]+\s*(?:ok|right|no)\?(?=\s*\Z)",
    re.IGNORECASE,
)
_THANKS = re.compile(r"\A([^,;:]+?)\s*[,;–-]+\s*(?:thanks|thank you|thx)(?=\s*[.!]*\Z)")
"""As the only thing behind a comma, and in lower case: `Product, Thanks` is a list of labels."""
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
    text = " ".join(visible(sentence).split())
    before = None
    while text != before:
        before = text
        for opening in (_ADDRESSED, _LABEL, _OPENING, _PLEASE):
            text = opening.sub("", text, count=1).strip()
    text = _THANKS.sub(r"\1", _TRAILING.sub("", text))
    if asked := _ASKED.match(text):
        text = asked["rest"].removeprefix("please ").removesuffix(", please")
    text = _LETS.sub(lambda match: "do not " if match["no"] else "", text)
    subject = _SUBJECT.match(text)
    if subject and not (subject["it"] and subject["rest"].startswith("be ")):
        text = _imperative(subject)
    if not any(char.isalnum() for char in text):
        return ""
    text = text if text.startswith(("`", '"', "“")) else text[0].upper() + text[1:]
    return text if text[-1] in _ENDS else text.rstrip(",;:–- ") + "."


def _imperative(match: re.Match[str]) -> str:
    """`we should never say x` as `never say x`; every word that turns the sense around stays."""
    adverbs = f"{match['early']}{match['late']}".lower().split()
    negated = bool(match["nt"]) or "not" in adverbs
    if negated and {"only", "just", "never"} & set(adverbs):  # `not only`, `never … not`: as it was said
        return match.group()
    kept = [word for word in adverbs if word in ("always", "never", "only", "just")]
    if negated:
        kept = ["do not", *(word for word in match["late"].lower().split() if word == "always" and not match["early"])]
    return " ".join([*kept, match["rest"]])
