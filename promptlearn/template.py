"""Jinja2 for the templates of judges and meta-prompts, and the fences around text that is not to be trusted.

Knows nothing about judges, prompts or models. Prompts under optimisation never come here: they are data, and their
variables are replaced by `promptlearn.variables`. Values are not rendered again, so `{{ 7*7 }}` in a model's output
stays what it is (invariant 12).
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError, meta
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from promptlearn.errors import AssetError
from promptlearn.records import Json, fingerprint

MAX_RENDERED = 1_000_000
"""Characters that one rendered template may have."""

_NONCE_LENGTH = 12
# Any run of three `<`, and the marks that chat templates put between turns (`<|im_end|>`, DeepSeek's with a wide bar,
# `</s>`, `<end_of_turn>`, `[/INST]`): some servers read these as such wherever they stand. However many backslashes an
# earlier escape has put into it.
_TURN_MARK = r"\\*(?:[|\uff5c]|/?s>|[be]os>|(?:start|end)_of_turn>)"
_INST = r"\\*/?INST\]"
_OPENING = re.compile(rf"<<(?=\\*<)|<(?={_TURN_MARK})|\[(?={_INST})")
_ESCAPED = re.compile(rf"(<<)\\(?=\\*<)|(<)\\(?={_TURN_MARK})|(\[)\\(?={_INST})")


class _Environment(ImmutableSandboxedEnvironment):
    """No files, no `range`, no arithmetic that could blow up before the output cap sees it."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"the operator {operator} is not available in templates")


def _environment() -> _Environment:
    environment = _Environment(autoescape=False, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()
    return environment


_ENVIRONMENT = _environment()


def template_variables(template: str, source: str = "template") -> frozenset[str]:
    """The variables that a template reads. Raises `AssetError` (naming `source`) where it is no valid template."""
    try:
        return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(template)))
    except TemplateSyntaxError as error:
        raise AssetError(f"{source}: line {error.lineno}: {error.message}") from error


def render(template: str, values: Mapping[str, Json], source: str = "template", limit: int = MAX_RENDERED) -> str:
    """`template` with `values` filled in; the values themselves are copied as they are.

    Raises `AssetError`, naming `source`, for a syntax error, for a variable that `values` does not have, for what the
    sandbox forbids, and for a result of more than `limit` characters.
    """
    parts: list[str] = []
    size = 0
    try:
        for part in _compiled(template).generate(dict(values)):
            size += len(part)
            if size > limit:
                raise AssetError(f"{source}: renders to more than {limit:,} characters; shorten what it repeats")
            parts.append(part)
    except TemplateSyntaxError as error:
        raise AssetError(f"{source}: line {error.lineno}: {error.message}") from error
    except UndefinedError as error:
        raise AssetError(f"{source}: {error.message}; possible: {', '.join(sorted(values)) or 'none'}") from error
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise AssetError(f"{source}: can not be rendered: {error}") from error
    return "".join(parts)


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)


def call_nonce(texts: Sequence[str], salt: str = "") -> str:
    """A mark for the fences of one call that none of its `texts` contains: 12 hex digits.

    The nonce comes from SHA-256 over the texts themselves and `salt`, not from chance: the journal files a reply under
    its messages, so a replay has to send the same bytes. That is no weaker than a random one. Whoever writes a text
    would have to guess the digest of a call that contains the guess, and where that happens all the same, the next
    digest is taken, until the nonce stands in none of the texts.
    """
    attempt = 0
    while True:
        nonce = fingerprint([salt, attempt, *texts], _NONCE_LENGTH)
        if not any(nonce in text for text in texts):
            return nonce
        attempt += 1


def fence(text: str, nonce: str, name: str = "text") -> str:
    r"""`text` between two lines that only the caller can write, for a model that must read it as data.

    Three `<` in a row, with which every fence begins, are broken with a backslash inside the text (`<<\<`), so it can
    neither end its fence nor forge another, nonce or not. So are the marks between a chat's turns (`<\|im_end|>`).
    `unfence` gives the text back. Shape, for `name="output"`:

        <<<DATA output 3f9a0c1b2d4e>>>
        …
        <<<END output 3f9a0c1b2d4e>>>
    """
    return f"<<<DATA {name} {nonce}>>>\n{_OPENING.sub(_broken, text)}\n<<<END {name} {nonce}>>>"


def unfence(fenced: str) -> str:
    """The text that `fence` was given, byte for byte."""
    return unbroken(fenced.split("\n", 1)[1].rsplit("\n", 1)[0])


def unbroken(copied: str) -> str:
    """What was copied from inside of a fence, as it was before."""
    return _ESCAPED.sub(lambda match: match[match.lastindex or 0], copied)


def _broken(match: re.Match[str]) -> str:
    return match[0] + "\\"
