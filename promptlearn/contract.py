"""What no rewrite may break (invariant 6): pure functions on prompts; no files, no models.

`violations` compares a draft with its parent. What the parent already holds is not held against the draft: a prompt
with a URL in it keeps that URL and gets no other. The patterns err on the strict side, because a false alarm costs one
repair and a missed one can send customers to a stranger's host.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from promptlearn.hidden import find_hidden, name_character
from promptlearn.records import Demonstration, Message, Prompt, as_text
from promptlearn.tokens import estimate_tokens
from promptlearn.variables import find_variables

DEFAULT_GROWTH = 4
"""Without `max_tokens`, a draft may be this many times as long as its parent,"""
DEFAULT_ROOM = 2000
"""or this many tokens, whichever is more."""

_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]{1,20}://|javascript:|data:[a-z]+/)[^\s<>\"'`]+", re.I)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_TOP_LEVEL = (
    "com|org|net|edu|gov|mil|int|info|biz|mobi|io|ai|app|dev|cloud|online|site|shop|store|tech|xyz|club|live|blog|page|"
    "link|click|top|win|space|website|icu|zip|mov|ru|cn|uk|de|fr|nl|eu|ca|au|jp|kr|br|es|pt|se|dk|fi|pl|cz|ch|ie|gr|hu|"
    "ro|bg|ua|kz|il|ae|za|mx|ar|cl|nz|sg|hk|tw|th|vn|ph|pk|ir|sa|tr|tv|co|cc|ws|gg|ly|su|tk|ml|ga|cf|gq|onion|internal|"
    "rocks|support|systems|agency|email|chat|network|host|digital|solutions|services|world|pub|lol|wtf|sh"
)
"""Names that stand alone; any other (`to`, `me`, `it`: a missing blank makes those) needs a path, a port or `www`."""
_HOST = re.compile(
    rf"(?<![\w.-])(?:(?:[\w-]+\.)+(?:{_TOP_LEVEL})(?![\w-])|(?:[\w-]+\.)+[a-z]{{2,}}(?=/\w|:\d{{2,5}}\b)"
    r"|www\.[\w-]+\.\w+|(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|localhost(?=[:/]))",
    re.I,
)
_PROGRAMS = (
    "bash|chmod|chown|curl|dd|docker|git|iwr|kubectl|mkfs|nc|ncat|npm|npx|perl|php|pip3?|powershell|pwsh|python3?|rm|"
    "rsync|ruby|scp|sh|ssh|sudo|telnet|wget|zsh"
)
_SHELL = re.compile(
    r"^[ \t>*+-]*(?:\d+[.)][ \t]+)?`?(?:\$[ \t]+[a-z./~][^\n]*|(?:curl|wget|sudo)[ \t]+\S[^\n]*|rm[ \t]+-[^\n]*"
    r"|(?:python3?|perl|ruby|node)[ \t]+-[ce]\b[^\n]*|git[ \t]+clone[ \t]+\S[^\n]*|nc[ \t]+-[^\n]*|dd[ \t]+if=[^\n]*"
    r"|(?:npx|pip3?[ \t]+install|npm[ \t]+i(?:nstall)?)[ \t]+\S[^\n]*"
    r"|(?:chmod|ssh|scp|ncat|powershell|iwr|bash|sh)[ \t]+(?:[-+/~.]|\d{3}|https?:|\S+@)[^\n]*)"
    rf"|`(?:sudo[ \t]+)?(?:{_PROGRAMS})[ \t]+[^`\n]+`"
    r"|\brm[ \t]+-[rfRF]+[ \t]+\S+"
    r"|\|[ \t]*(?:sudo[ \t]+)?(?:ba|z|da|k)?sh\b|\$\([a-z][^)\n]{,200}\)|&&[ \t]*(?:curl|wget|rm|sudo)[ \t][^\n]*"
    r"|;[ \t]*(?:(?:curl|wget|rm)[ \t]+-|sudo[ \t])[^\n]*"
    r"|^[ \t]*```[ \t]*(?:bash|sh|shell|zsh|console|powershell|bat)\b",
    re.M,
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.S)
_THINKING = re.compile(r"</?\s*(?:think|thinking|reasoning|scratchpad)\s*>", re.I)
_LATER_PUNCTUATION = ".,;:!?)]}*_"


def violations(draft: Prompt, parent: Prompt) -> list[str]:
    """Every way in which `draft` breaks the contract of `parent`; each names the piece. Empty: it may be run."""
    return [
        *_frame(draft, parent),
        *_emptiness(draft, parent),
        *_variables(draft, parent),
        *_locked(draft, parent),
        *_length(draft, parent),
        *_additions(draft, parent),
        *_hidden(draft, parent),
    ]


def _frame(draft: Prompt, parent: Prompt) -> Iterator[str]:
    if _fixed(draft) != _fixed(parent):
        yield "a message other than the learned one is changed; change the learned text alone"
    if draft.layout != parent.layout:
        yield "the layout of the prompt's file is changed"
    if draft.contract != parent.contract:
        yield "the contract itself is changed"


def _fixed(prompt: Prompt) -> list[Message | str]:
    return [m.role if i == prompt.learned else m for i, m in enumerate(prompt.messages)]


def _emptiness(draft: Prompt, parent: Prompt) -> Iterator[str]:
    if not draft.text.strip() and parent.text.strip():
        yield "the learned text is empty"
    if any(not rule.text.strip() for rule in draft.rules):
        yield "a rule is empty"


def _variables(draft: Prompt, parent: Prompt) -> Iterator[str]:
    wanted = parent.contract.variables
    for name in sorted(wanted - draft.variables):
        yield f"the variable {{{name}}} is missing"
    before = set(find_variables("\n".join(_texts(parent))))
    stated = set(find_variables("\n".join([draft.text, *(rule.text for rule in draft.rules)])))
    for name in sorted(stated - before - wanted):
        yield f"{{{name}}} is not a variable of this prompt; its variables: {', '.join(sorted(wanted)) or 'none'}"
    if draft.layout.demonstrations == "text":
        for demo in draft.demonstrations:
            for name in find_variables("\n".join(_shown(demo))):
                yield f"{{{name}}} stands in a demonstration, where the file would read it as a variable"


def _locked(draft: Prompt, parent: Prompt) -> Iterator[str]:
    before, now = (_stated(prompt) for prompt in (parent, draft))
    for span in parent.contract.locked:
        missing = before.count(span) - now.count(span)
        if missing > 0:
            yield f"the locked span {span!r} is missing or changed ({missing} of {before.count(span)})"


def _length(draft: Prompt, parent: Prompt) -> Iterator[str]:
    tokens, cap = learned_tokens(draft), parent.contract.max_tokens
    if cap is None:
        cap = max(DEFAULT_GROWTH * learned_tokens(parent), DEFAULT_ROOM)
    if tokens > cap:
        yield f"the learned text has about {tokens} tokens, demonstrations included; at most {cap} are allowed"


def learned_tokens(prompt: Prompt) -> int:
    """Estimated tokens of what is learned: text, rules and demonstrations, as text or as turns."""
    turns = prompt.demonstrations if prompt.layout.demonstrations == "turns" else ()
    return sum(map(estimate_tokens, [prompt.learned_text(), *("\n".join(_shown(demo)) for demo in turns)]))


def _additions(draft: Prompt, parent: Prompt) -> Iterator[str]:
    before = _texts(parent)
    known = {piece for text in before for piece in _pieces(text)}
    known |= {("host name", host) for text in before for host in _hosts(text)}
    for text in _learned(draft):
        for kind, piece in sorted(_pieces(text) - known):
            yield f"a new {kind}: {piece[:100]!r}"
            known.add((kind, piece))


@lru_cache(maxsize=128)
def _pieces(text: str) -> frozenset[tuple[str, str]]:
    """What an attacker would want in a prompt, by kind. A host within a URL or an address is that URL or address."""
    urls = {match[0].rstrip(_LATER_PUNCTUATION) for match in _URL.finditer(text)} if ":" in text else set()
    emails = set(_EMAIL.findall(text)) if "@" in text else set()
    bare = _EMAIL.sub(" ", _URL.sub(" ", text)) if urls or emails else text
    tags = (*_COMMENT.findall(text), *_THINKING.findall(text)) if "<" in text else ()
    return frozenset(
        {
            *(("URL", url) for url in urls),
            *(("e-mail address", email.casefold()) for email in emails),
            *(("host name", host) for host in _hosts(bare)),
            *(("shell command", match[0].strip()) for match in _SHELL.finditer(text)),
            *(("HTML comment" if tag.startswith("<!--") else "reasoning tag", tag) for tag in tags),
        }
    )


@lru_cache(maxsize=128)
def _hosts(text: str) -> frozenset[str]:
    if "." not in text and "localhost" not in text.casefold():
        return frozenset()
    return frozenset(host.casefold() for host in _HOST.findall(text))


def _hidden(draft: Prompt, parent: Prompt) -> Iterator[str]:
    known, found = (
        {text[at] for text in texts for at in find_hidden(text)} for texts in (_texts(parent), _learned(draft))
    )
    for char in sorted(found - known):
        yield f"a hidden character: {name_character(char)}"


def _learned(prompt: Prompt) -> list[str]:
    """Every text that a proposer writes."""
    demos = [text for demo in prompt.demonstrations for text in _shown(demo)]
    return [prompt.text, *(rule.text for rule in prompt.rules), *demos]


def _texts(prompt: Prompt) -> list[str]:
    """Every text that the model sees."""
    around = [prompt.layout.before, prompt.layout.after]
    return [*around, *(message.content for message in prompt.messages), *_learned(prompt)]


def _stated(prompt: Prompt) -> str:
    """Text and rules as the model sees them, demonstrations left out."""
    return "\n".join([prompt.text, *(rule.text for rule in prompt.rules)])


def _shown(demo: Demonstration) -> list[str]:
    return [*(as_text(value) for value in demo.inputs.values()), demo.output]
