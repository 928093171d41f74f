"""The prompts of one program, each in a file of its own, as one prompt whose sections they are.

    prompt: {files: {plan: prompts/plan.md, answer: prompts/answer.md}}

Knows files of text and sections; nothing about programs. A candidate holds all of them, and each goes back into its own
file: whole, or between the markers of a managed block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from promptlearn.errors import PromptError
from promptlearn.prompt.file import PromptFile, read_prompt
from promptlearn.records import Contract, Json, Layout, Message, Prompt
from promptlearn.sections import heading, join_sections, names_in, split_sections


@dataclass(frozen=True, slots=True)
class Bundle:
    """Prompts by name, the files that they came from, and all of them as one."""

    files: Mapping[str, PromptFile]
    prompt: Prompt

    def render(self, prompt: Prompt) -> dict[str, bytes]:
        """Name → the bytes of its file with that part of `prompt` in it; writes nothing. Raises PromptError."""
        names = tuple(self.files)
        return {name: file.render_file(with_section(file, prompt, name, names)) for name, file in self.files.items()}

    def targets(self, folder: Path | None = None) -> dict[str, Path]:
        """Name → where `write` puts that prompt."""
        return {name: file.path if folder is None else folder / file.path.name for name, file in self.files.items()}

    def write(self, prompt: Prompt, folder: Path | None = None) -> list[Path]:
        """Write every file, in its place or by its name into `folder`; returns where they are.

        Raises `PromptError` before anything is written where a file has changed since it was read.
        """
        data = self.render(prompt)
        if folder is None:
            for name, file in self.files.items():
                if file.path.read_bytes() not in (file.source, data[name]):
                    raise PromptError(f"{file.path}: changed since it was read; write to another folder")
        written = []
        for name, target in self.targets(folder).items():
            file = self.files[name]
            file.write(with_section(file, prompt, name, tuple(self.files)), target)
            written.append(target)
        return written


def read_bundle(
    files: Mapping[str, Path],
    *,
    locked: Iterable[str] = (),
    max_tokens: int | None = None,
    output_schema: Mapping[str, Json] | None = None,
    literals: Iterable[str] = (),
) -> Bundle:
    """Read the prompts of a program. The options are the configuration's contract; headings are locked besides.

    Raises PromptError for a file that is no text, for one that has a heading of ours, and for two of the same name.
    """
    wanted = tuple(locked)
    read = {name: read_prompt(path, literals=literals) for name, path in files.items()}
    for file in read.values():
        if file.format not in ("text", "block"):
            raise PromptError(f"{file.path}: one of several prompts has to be a text file; that is {file.format}")
        if found := names_in(file.prompt.text):
            raise PromptError(f"{file.path}: the heading `{heading(found[0])}` divides prompts here; reword it")
    names = [file.path.name for file in read.values()]
    if len(set(names)) < len(names):
        raise PromptError(f"prompt.files: two files are called {max(names, key=names.count)}; rename one")
    text = join_sections({name: file.prompt.text for name, file in read.items()})
    kept = [span for file in read.values() for span in file.prompt.contract.locked if span in text]
    for span in wanted:
        if span not in text:
            raise PromptError(f"contract.locked: {span!r:.80} stands in none of the prompts; copy it exactly")
    spans = tuple(dict.fromkeys((*map(heading, read), *wanted, *kept)))
    contract = Contract(locked=spans, max_tokens=max_tokens, output_schema=output_schema)
    return Bundle(read, Prompt((Message("system", text),), contract=contract, layout=Layout("text")))


def with_section(file: PromptFile, prompt: Prompt, name: str, names: Sequence[str]) -> Prompt:
    """The file's own prompt with the text of that section of `prompt`, which has sections of all `names`; the same one
    where only white space around it differs.
    """
    text = split_sections(prompt.learned_text(), names)[name]
    return file.prompt if file.prompt.text.strip() == text else replace(file.prompt.with_text(text), rules=())
