"""The words by which a comment is told apart: what makes it general, and what ties it to one place or one person.

Patterns and nothing else; `classify` says in which order they count. English, as most review comments are: in other
languages nearly everything is a one-off until a person or a language model says otherwise.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[\w-]+")


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


ALWAYS = _any(
    r"\b(?:always|never|ever|every(?:thing|one|body|where)?|each|whenever|wherever|no matter|at all times)\b",
    r"\bby default\b|\bin (?:general|all cases|any case|every case)\b",
    r"\bas a (?:rule|principle)\b",
    r"\b(?:under no circumstances|from now on|going forward|in (?:the )?future|regardless|without exception)\b",
    r"\bwhatever (?:the|it)\b",
)
"""General beyond doubt: outweighs a word that points at a place."""

MUST = _any(
    r"\b(?:must(?:n'?t)?|should(?:n'?t)?|shall|need(?:s)? to|ha(?:s|ve) to|ought to|do not|don'?t|does not|doesn'?t)\b",
    r"\b(?:not allowed|may not|make sure|ensure|avoid|prefer|remember to|let'?s|has no place|please)\b",
    r"\bis (?:required|forbidden)\b",
)
SOME = re.compile(r"\b(?:any(?:thing|one|body|time)?|all|only|nobody|no one|none|unless)\b", re.IGNORECASE)
WHEN = re.compile(r"\A(?:if|when|whenever|where|once|unless|as soon as|in case|for|with)\s+\w", re.IGNORECASE)
FORBIDS = re.compile(r"\A(?:no|not|never|only|do not|don'?t)\s+\w+", re.IGNORECASE)
BELONGS = re.compile(
    r"\b(?:is|are|goes|go|belongs?|counts?|means?|stays?|gets?|becomes?|have|has)\b",
    re.IGNORECASE,
)
KIND_OF_THING = _any(
    r"\A(?:an?|all|any|every|each|no|our|such)\s+\w",
    r"\A(?:questions?|mails?|e-?mails?|messages?|tickets?|requests?|orders?|customers?|answers?|replies|dates?|names?)\b",
    r"\A(?:numbers?|prices?|complaints?|refunds?|returns?|labels?|greetings?|tests?|people|users?|links?|titles?)\b",
    r"\A(?:somebody|someone|lists?)\b",
)
"""A subject that stands for all things of its kind."""
QUALIFIES = re.compile(
    r"\A(?:not|only (?:if|when|where|for)|except|unless|but|even|ever|otherwise|exceptions?|never|always)\b",
    re.IGNORECASE,
)
"""How a sentence begins that belongs to the one before."""

VERBS = frozenset(
    _WORD.findall(
        "add address allow answer apologise apologize ask assume avoid be begin break call check choose cite close "
        "confirm copy count cut decline describe do double-check drop end ensure escalate explain follow format "
        "forward give greet hand handle hide include introduce invent keep label leave limit link list make mark match "
        "mention move name note offer omit open order phrase pick point prefer promise provide put quote read refer "
        "refund refuse reject remove rename repeat replace reply report respond return say send separate shorten show "
        "sign skip sort speak spell split start state stay stick stop suggest summarise summarize take tell thank "
        "translate treat try use verify wait warn wrap write"
    )
)
"""With which an instruction begins."""
EDITING = frozenset(_WORD.findall("add cut delete drop fix move remove rename replace revert split swap undo update"))
"""What one does to a text or a change rather than in every answer."""

PLACE = _any(
    r"\A(?:this|that|these|those) (?:is|are|was|reads?|looks?)\b",
    r"\b(?:here|above|below|ditto|for now|same (?:as|thing)|see (?:above|below|the other))\b",
    r"\b(?:this|that|these|those) (?:one|bit|part|lines?|words?|sentences?|paragraphs?|sections?|heading|bullets?)\b",
    r"\b(?:this|that|these|those) (?:list|link|function|method|class|variable|name|file|test|import|block|comment)\b",
    r"\b(?:this|that|these|those) (?:typo|examples?|rows?|changes?|commits?|check|loop|branch|condition|table)\b",
    r"\b(?:this|that|these|those) (?:wording|keys?|fields?)\b",
    r"\blines? \d+|\bL\d+\b",
    r"\bthe (?:first|second|third|last|next|previous|old|new|other|missing|wrong) "
    r"(?:line|sentence|paragraph|bullet|word|example|item|rule|wording|one|file|commit|label)\b",
    r"\bthe example (?:with|about)\b|\bthe (?:last|latest) commit\b|\btoo\s*[.!]?\Z",
)
CODE = re.compile(
    r"\b\w+\(\)|\b[a-z]+(?:_[a-z0-9]+)+\b|\b[a-z]+[A-Z]\w*\b"
    r"|\b[\w-]+\.(?:py|js|ts|tsx|go|rs|java|md|ya?ml|json|toml|txt|sh|sql)\b"
)
REPORT = _any(
    r"\A(?:done|fixed|will do|addressed|updated|resolved|changed|removed|added|reverted|moved|pushed)\b",
    r"\A(?:oops|sorry|my bad|hm+|not sure|you (?:forgot|missed)|same here)\b",
    r"\Ai(?:'ll| will| have|'ve| am|'m|'d| would)?\b",
    r"\A(?:ok(?:ay)?|yes|no)\s*[.!]?\Z",
)
OPINION = re.compile(r"\Ai (?:also |still |really )?(?:think|believe|feel|guess|would say)\b", re.IGNORECASE)
WISH = re.compile(
    r"\A(?:\w+[,:!]?\s+)?(?:could|can|would|will|should|shouldn'?t|couldn'?t) (?:you|we|it)\b", re.IGNORECASE
)
PRAISE = _any(
    r"\A(?:l\s?g\s?t\s?m|looks? (?:good|great|fine)|thx|thank(?:s| you)|(?:i )?(?:love|like) (?:it|this))\b",
    r"\A(?:very |so |really )?(?:nice|great|good|cool|neat|clean|clever|lovely)\b",
    r"\A(?:perfect|awesome|excellent|well done|brilliant|amazing|ship it|sounds good|agreed?|makes sense)\b",
    r"\A(?:works for me|much (?:better|easier|clearer)|congrat\w*|kudos)\b",
    r"\A(?:this|that|it) is (?:so |much |way |really )*(?:better|great|nice|good|lovely)\b",
    r"\A(?:\+1|:\+1:|:tada:|:heart:|👍|🎉|❤|🙏|🚀|💯)",
)
NIT = _any(
    r"\A(?:super |very )?(?:nits?|nitpick(?:ing)?|minor|tiny|cosmetic|optional|not blocking|non-blocking)\b",
    r"\A(?:small )?typos?\b|\btypo\b|\bmis-?spel",
    r"\b(?:double|trailing|extra|missing|superfluous) (?:white ?space|spaces?|blanks?|commas?|full stop|period)\b",
    r"\b(?:double|trailing|extra|missing|superfluous) (?:newline|line break|semicolon|bracket|quote|hyphen)\b",
    r"\A(?:white ?space|indentation|spelling|capitali[sz]ation)\b",
    r"\As/[^/\n]+/[^/\n]*/\w*\s*\Z",
)
PROCESS = _any(
    r"\b(?:ci|the (?:build|pipeline|linter)) (?:is|fails|failed|broke)\b",
    r"\brebas(?:e|ing)\b|\bsquash\b|\bmerge conflicts?\b|\b(?:before|after|when|while) merging\b|\bcherry-?pick",
    r"\bchange ?log\b|\bflaky\b|\brelease notes?\b|\bbump the version\b|\bversion bump\b",
    r"\bnot (?:for|in|part of) this (?:pr|pull request|change)\b",
    r"\b(?:separate|another|different|follow-?up|new) (?:pr|pull request)\b|\b(?:in|as) a follow-?up\b",
    r"\bout of scope\b|\bopen an issue\b|\A@(?:dependabot|renovate|github-actions)\b|\A/[a-z]+\b",
)
"""About how the change gets in, not about what answers say."""
MACHINE_MADE = re.compile(
    r"(?:\A|/)(?:[\w.-]*lock(?:file)?(?:\.json|\.ya?ml)?"
    r"|[\w-]+\.(?:lock|sum|min\.js|map|svg|png|jpe?g|gif|ico|pdf|snap))\Z",
    re.IGNORECASE,
)
LABELLED = re.compile(
    r"\A\**(praise|nitpick|nit|question|suggestion|issue|todo|chore|note|thought|polish)\**(?:\s*\([^)]*\))?\**\s*:",
    re.IGNORECASE,
)
"""A conventional comment (conventionalcomments.org)."""
