"""Prompt files in and out: what is measured is what the file says.

    file = read_prompt("prompts/support.md")
    prompt = bind_variables(file.prompt, columns=["message"], literals=file.literals)
    file.write(better_prompt)

`file` reads and writes, `text` knows bytes and markers, `keyed` finds one value in YAML or JSON, `chat` is our own
chat YAML, `provenance` writes beside the others what that one holds. Nothing here knows models, examples or scores.
"""

from promptlearn.prompt.file import PromptFile, bind_variables, chat_file, parse_prompt, read_prompt
from promptlearn.prompt.provenance import has_provenance, write_provenance

__all__ = [
    "PromptFile",
    "bind_variables",
    "chat_file",
    "has_provenance",
    "parse_prompt",
    "read_prompt",
    "write_provenance",
]
