"""Reading a prompt from the user's file, and writing a learned one back so that it reads back the same.

Knows files and formats; nothing about models, examples or scores.

    text    any text or Markdown file: the whole file is one system message
    block   a file with `<!-- promptlearn:begin -->` … `<!-- promptlearn:end -->`: only what is between may change
    yaml    the text under a key path; every other character stays
    json    the same
    chat    our own YAML with messages, rules, demonstrations and a contract (`chat.py`)

In every format but `chat`, rules and demonstrations are written as sections of the text (`Prompt.learned_text`).
"""

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from promptlearn.errors import PromptError
from promptlearn.prompt.chat import is_chat, new_chat, read_chat, write_chat
from promptlearn.prompt.keyed import Syntax, read_value, replace_value, top_keys
from promptlearn.prompt.text import FileText, find_block, find_kept, join_end, split_end
from promptlearn.records import Contract, Json, Layout, Message, Prompt
from promptlearn.variables import find_variables

PromptFormat = Literal["text", "block", "yaml", "json", "chat"]

_SYNTAX: Mapping[str, Syntax] = {".yaml": "yaml", ".yml": "yaml", ".json": "json"}
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt and the file that it came from."""

    path: Path
    format: PromptFormat
    prompt: Prompt
    key: str | None
    """Key path, for `yaml` and `json`."""
    literals: tuple[str, ...]
    """Names in braces that are no variables."""
    source: bytes
    """The file's bytes when it was read."""

    def render_file(self, prompt: Prompt) -> bytes:
        """The file's bytes with `prompt` in the place of what was read; writes nothing.

        Raises `PromptError` where the file would not read back as the prompt that was measured.
        """
        if self.format == "chat":
            prompt = _as_turns(prompt)
        if _content(prompt) == _content(self.prompt):
            return self.source
        name = str(self.path)
        old = FileText.decode(self.source, name)
        data = old.encode(self._put(old.text, prompt), name)
        again = _parse(FileText.decode(data, name).text, self.path, self.key, self.format)
        if _content(again.prompt) != _content(prompt):
            raise PromptError(f"{name}: the prompt does not read back as it was measured; markers or line ends differ")
        return data

    def fits_name(self, path: Path) -> bool:
        """Whether a file of that name is taken for one of this format: no table, and YAML or JSON as this one is."""
        return _kind(path) == _kind(self.path)

    def may_replace(self, path: Path, prompts: Iterable[Prompt] = ()) -> bool:
        """Whether nothing else is lost at `path`: it is free or empty, or holds a prompt in this format, as an earlier
        one is. Any text could be one, so a text has to be one of these `prompts`.
        """
        if not path.is_file():
            return True
        data = _read_bytes(path)
        if not data.strip():
            return True
        if self.format == "text":
            return path.resolve() == self.path.resolve() or any(self._is(data, prompt) for prompt in prompts)
        if self.format == "block" and not self.fits_name(path):
            return False
        try:
            return _parse(FileText.decode(data, str(path)).text, self.path, self.key).format == self.format
        except PromptError:
            return False

    def _is(self, data: bytes, prompt: Prompt) -> bool:
        try:
            return self.render_file(prompt).split() == data.split()
        except PromptError:
            return False

    def write(self, prompt: Prompt, to: Path | None = None) -> bytes:
        """Write `prompt` to the file (or, in the same format, `to` another one) in one step; returns the bytes.

        Raises `PromptError` where the disk refuses, or where the user has changed the file since it was read.
        """
        data = self.render_file(prompt)
        target = self.path if to is None else to
        if target == self.path and _read_bytes(target) not in (self.source, data):
            raise PromptError(f"{target}: changed since it was read; write the learned prompt to another path")
        write_bytes(target, data)
        return data

    def _put(self, old: str, prompt: Prompt) -> str:
        name, learned = str(self.path), prompt.learned_text()
        match self.format:
            case "chat":
                return write_chat(old, prompt, name)
            case "block":
                return self.prompt.layout.before + learned + self.prompt.layout.after
            case "text":
                return join_end(learned, split_end(old)[1])
            case "yaml" | "json" as syntax:
                end = split_end(read_value(old, self.key or "", syntax, name))[1]
                return replace_value(old, self.key or "", join_end(learned, end), syntax, name)


def read_prompt(
    path: str | Path,
    key: str | None = None,
    *,
    locked: Iterable[str] = (),
    max_tokens: int | None = None,
    literals: Iterable[str] = (),
    output_schema: Mapping[str, Json] | None = None,
) -> PromptFile:
    """Read a prompt file; its ending, its markers and `key` tell the format.

    The options are the configuration's contract; a chat YAML's own contract is added to them, and so are the spans
    between keep markers. Variables are not known yet: `bind_variables`. Raises `PromptError`.
    """
    return parse_prompt(
        _read_bytes(Path(path)),
        path,
        key,
        locked=locked,
        max_tokens=max_tokens,
        literals=literals,
        output_schema=output_schema,
    )


def parse_prompt(
    source: bytes,
    path: str | Path,
    key: str | None = None,
    *,
    locked: Iterable[str] = (),
    max_tokens: int | None = None,
    literals: Iterable[str] = (),
    output_schema: Mapping[str, Json] | None = None,
) -> PromptFile:
    """`read_prompt` of bytes that are no file here; `path` says what they are called. Raises `PromptError`."""
    path = Path(path)
    parsed = _parse(FileText.decode(source, str(path)).text, path, key)
    own = parsed.prompt.contract
    contract = Contract(
        locked=_locked(parsed.prompt, (*locked, *own.locked), str(path)),
        max_tokens=own.max_tokens if max_tokens is None else max_tokens,
        output_schema=own.output_schema if output_schema is None else output_schema,
    )
    return PromptFile(
        path=path,
        format=parsed.format,
        prompt=replace(parsed.prompt, contract=contract),
        key=key,
        literals=tuple(dict.fromkeys((*literals, *parsed.literals))),
        source=source,
    )


def chat_file(prompt: Prompt, path: str | Path = "prompt.yaml") -> PromptFile:
    """The chat YAML file that a prompt made in Python would have come from; nothing is written yet.

    A prompt that was read from another format goes into its message as that file says it.
    """
    path, prompt = Path(path), _as_turns(prompt)
    text = new_chat(prompt, str(path))
    chat = read_chat(text, str(path))
    return PromptFile(path, "chat", prompt, None, chat.literals, FileText(text).encode(text, str(path)))


def bind_variables(prompt: Prompt, columns: Collection[str], literals: Collection[str] = ()) -> Prompt:
    """The prompt with its variables known: the names in braces that `columns` has and `literals` does not.

    Raises `PromptError` for any other name in braces. Around a managed block such a name is plain text: code and URLs
    stand there, and no rewrite touches them.
    """
    texts = [message.content for message in prompt.messages] + [rule.text for rule in prompt.rules]
    names = [name for text in texts for name in find_variables(text) if name not in literals]
    unknown = next((name for name in names if name not in columns), None)
    if unknown is not None:
        raise PromptError(
            f"prompt variable {{{unknown}}} has no column; columns: {', '.join(columns)}; "
            "rename it, map it under data.inputs, or declare it under `contract.literals`"
        )
    around = find_variables(prompt.layout.before) + find_variables(prompt.layout.after)
    bound = frozenset(names) | {name for name in around if name in columns and name not in literals}
    return replace(prompt, contract=replace(prompt.contract, variables=bound))


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return "table" if suffix in _TABLES else _SYNTAX.get(suffix, "text")


@dataclass(frozen=True, slots=True)
class _Parsed:
    format: PromptFormat
    prompt: Prompt
    literals: tuple[str, ...] = ()


def _parse(text: str, path: Path, key: str | None, expected: PromptFormat | None = None) -> _Parsed:
    name, syntax = str(path), _SYNTAX.get(path.suffix.lower())
    if key is not None:
        if syntax is None:
            raise PromptError(f"{name}: a key needs a .yaml, .yml or .json file; leave `key` out to use the whole file")
        return _whole(read_value(text, key, syntax, name), name, syntax)
    if syntax == "yaml" and (expected == "chat" or is_chat(text)):
        chat = read_chat(text, name)
        return _Parsed("chat", chat.prompt, chat.literals)
    if syntax is not None:
        keys = ", ".join(top_keys(text, syntax, name)) or "none"
        raise PromptError(
            f"{name}: which text is the prompt? write prompt: {{file: {path.name}, key: …}}; keys there: {keys}"
        )
    block = find_block(text, name)
    if block is None:
        return _whole(text, name, "text")
    layout = Layout("text", block.before, block.after)
    return _Parsed("block", Prompt((Message("system", block.text),), layout=layout))


def _whole(text: str, name: str, form: PromptFormat) -> _Parsed:
    if not text.strip():
        raise PromptError(f"{name}: the prompt is empty; write one sentence to start from")
    return _Parsed(form, Prompt((Message("system", split_end(text)[0]),), layout=Layout("text")))


def _locked(prompt: Prompt, declared: tuple[str, ...], name: str) -> tuple[str, ...]:
    around = (prompt.layout.before, prompt.layout.after)
    texts = (*around, *(m.content for m in prompt.messages), *(rule.text for rule in prompt.rules))
    for span in declared:
        if not span.strip() or not any(span in text for text in texts):
            raise PromptError(f"{name}: contract.locked: {span!r:.80} does not stand in the prompt; copy it exactly")
    kept = [span for text in texts for span in find_kept(text, name)]
    return tuple(dict.fromkeys((*declared, *kept)))


def _as_turns(prompt: Prompt) -> Prompt:
    """The same messages to the model without a layout: what it would write as text is text."""
    if prompt.layout == Layout():
        return prompt
    text = prompt.layout.before + prompt.learned_text() + prompt.layout.after
    shown = () if prompt.layout.demonstrations == "text" else prompt.demonstrations
    return replace(prompt.with_text(text), rules=(), demonstrations=shown, layout=Layout())


def _content(prompt: Prompt) -> object:
    """What of a prompt its file holds: as text, one string; as chat YAML, its parts with their provenance."""
    if prompt.layout.demonstrations == "text":
        roles = [message.role for message in prompt.messages]
        return roles, prompt.layout.before + prompt.learned_text() + prompt.layout.after
    return prompt.messages, prompt.rules, prompt.demonstrations


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PromptError(f"{path}: no such file; name the prompt's file under `prompt`") from None
    except OSError as error:
        raise PromptError(f"{path}: can not be read: {error.strerror}") from None


def write_bytes(path: Path, data: bytes) -> None:
    """All or nothing: a temporary file beside the target, on the disk, then renamed. Follows links, keeps the mode."""
    target = path.resolve()
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, written = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(written)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise PromptError(f"{path}: can not be written: {error.strerror}; the file is as it was") from None


def _mode(target: Path) -> int:
    return target.stat().st_mode & 0o7777 if target.exists() else 0o644
