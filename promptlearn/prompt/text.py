"""The text of a prompt file: bytes to characters and back, the managed block, and spans to keep.

Knows nothing about YAML, JSON or prompts. Three conventions make a round trip exact:

* A byte order mark is kept, and is not part of the text.
* Where every line of a file ends in CRLF, the text has LF and is written back with CRLF. Any other mixture is text.
* One line end at the very end is how files end. It is kept, and is not part of the text (`split_end`, `join_end`).
"""

import re
from dataclasses import dataclass

from promptlearn.errors import PromptError

_BOM = "\ufeff"
_LONE_LF = re.compile(r"(?<!\r)\n")
# Words behind `begin` are for people. A line that begins with `#` is the marker of files that know no HTML comment.
_BEGIN = re.compile(
    r"<!--[ \t]*promptlearn:begin(?:[ \t][^\r\n]*?)?-->|^[ \t]*#[ \t]*promptlearn:begin(?:[ \t][^\r\n]*)?(?=\r?$)",
    re.MULTILINE,
)
_END = re.compile(r"<!--[ \t]*promptlearn:end[ \t]*-->|^[ \t]*#[ \t]*promptlearn:end[ \t]*(?=\r?$)", re.MULTILINE)
_KEEP = re.compile(r"<!--[ \t]*promptlearn:keep[ \t]*-->")
_KEPT = re.compile(r"<!--[ \t]*/promptlearn:keep[ \t]*-->")


@dataclass(frozen=True, slots=True)
class FileText:
    """The characters of a file, and what its bytes had besides."""

    text: str
    bom: bool = False
    crlf: bool = False

    @classmethod
    def decode(cls, data: bytes, name: str) -> "FileText":
        """Raises `PromptError` where the file is not UTF-8, naming the line."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PromptError(f"{name}: line {line} is not UTF-8; save the file as UTF-8") from None
        bom = text.startswith(_BOM)
        crlf = "\r\n" in text and not _LONE_LF.search(text)
        text = text.removeprefix(_BOM)
        return cls(text.replace("\r\n", "\n") if crlf else text, bom, crlf)

    def encode(self, text: str, name: str) -> bytes:
        """The bytes of the same file with another text."""
        written = text.replace("\n", "\r\n") if self.crlf else text
        if self.bom or text.startswith(_BOM):
            written = _BOM + written
        try:
            return written.encode("utf-8")
        except UnicodeEncodeError:
            raise PromptError(f"{name}: the prompt holds half a surrogate pair, which UTF-8 can not express") from None


def split_end(text: str) -> tuple[str, str]:
    """The text without one final line end, and that line end."""
    return (text[:-1], "\n") if text.endswith("\n") else (text, "")


def join_end(text: str, end: str) -> str:
    """The inverse of `split_end`: a text that itself ends in a line end gets one more, whatever `end` was."""
    return text + ("\n" if text.endswith("\n") else end)


@dataclass(frozen=True, slots=True)
class Block:
    """A file with a managed block: only `text` may change; the markers belong to what is around it."""

    before: str
    text: str
    after: str


def find_block(text: str, name: str) -> Block | None:
    """The managed block, or None where the text has no marker.

    The markers' own line ends belong to `before` and `after`. An empty block gets a line of its own, so that what is
    learned never stands on a marker's line.
    """
    begins, ends = list(_BEGIN.finditer(text)), list(_END.finditer(text))
    if not begins and not ends:
        return None
    if len(begins) != 1 or len(ends) != 1 or ends[0].start() < begins[0].end():
        raise PromptError(
            f"{name}: {len(begins)} promptlearn:begin and {len(ends)} promptlearn:end markers; "
            "a managed block is one <!-- promptlearn:begin -->, then one <!-- promptlearn:end -->"
        )
    start, stop = begins[0].end(), ends[0].start()
    inside = text[start:stop]
    if inside in ("\n", "\r\n"):
        return Block(text[:start] + inside, "", inside + text[stop:])
    first = re.match(r"\r?\n", inside)
    start += first.end() if first else 0
    last = re.search(r"\r?\n\Z", text[start:stop])
    stop -= len(last[0]) if last else 0
    return Block(text[:start], text[start:stop], text[stop:])


def find_kept(text: str, name: str) -> tuple[str, ...]:
    """Spans from `<!-- promptlearn:keep -->` to `<!-- /promptlearn:keep -->`, markers included.

    The markers are locked with what they enclose: a rewrite that dropped them would unlock the span for the next run.
    """
    spans = []
    for begin in _KEEP.finditer(text):
        end = _KEPT.search(text, begin.end())
        if end is None:
            line = text.count("\n", 0, begin.start()) + 1
            raise PromptError(f"{name}: <!-- promptlearn:keep --> in line {line} has no <!-- /promptlearn:keep -->")
        spans.append(text[begin.start() : end.end()])
    return tuple(dict.fromkeys(spans))
