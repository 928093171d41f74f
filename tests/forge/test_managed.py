"""A managed block changes; every byte around it stays (invariant 12)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import PromptError
from promptlearn.forge.managed import is_agent_file, put_block, read_block
from promptlearn.prompt import read_prompt

OTHER = "<!-- other:begin -->\nkeep\n<!-- other:end -->\n"
PIECES = [
    "a",
    "Über\n",
    "b\r\n",
    "\n",
    "\r\n",
    "\r",
    " ",
    "---\n",
    "# x\n",
    OTHER,
    "{v}$",
    "<!-- promptlearn -->",
    "\u2028",
]
around = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
learned = st.lists(st.sampled_from(["Be kind.", "\n", "- a", "Ä ", "#", "<!-- x -->", "\n\n"]), max_size=6).map("".join)
names = st.sampled_from(["CLAUDE.md", "AGENTS.md", ".cursor/rules/style.mdc", "prompt.txt"])
BOM = "\ufeff"


def inside(text: str) -> str:
    return text.strip("\n")


@given(st.sampled_from(["", BOM]), around, learned, names)
def test_a_missing_block_is_appended(bom: str, old: str, text: str, name: str) -> None:
    data = (bom + old).encode()
    written = put_block(data, text, name)
    assert written.startswith(data)
    assert read_block(written, name) == inside(text)
    assert put_block(written, text, name) == written


@given(st.sampled_from(["", BOM]), around, around, learned, learned, st.sampled_from(["\n", "\r\n"]))
def test_every_byte_outside_of_the_block_stays(bom: str, before: str, after: str, old: str, new: str, end: str) -> None:
    old = inside(old).replace("\n", end)
    head = f"{bom}{before}<!-- promptlearn:begin -->{end}".encode()
    tail = f"{end}<!-- promptlearn:end -->{after}".encode()
    written = put_block(head + old.encode() + tail, new, "CLAUDE.md")
    assert written.startswith(head)
    assert written.endswith(tail)
    middle = written.removeprefix(head).removesuffix(tail)
    assert middle.decode() == inside(new).replace("\n", end)
    assert put_block(written, new, "CLAUDE.md") == written


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_front_matter_of_a_cursor_rule_stays(end: str) -> None:
    old = end.join(["---", "globs: '*.py'  # ours", "---", "", "Use tabs.", ""]).encode()
    written = put_block(old, "Be kind.\nBe short.", ".cursor/rules/style.mdc")
    assert written.startswith(old)
    assert b"Be kind." + end.encode() + b"Be short." + end.encode() in written
    assert written.count(b"\r\n") == (written.count(b"\n") if end == "\r\n" else 0)


def test_a_new_file() -> None:
    assert put_block(None, "Be kind.", "AGENTS.md").startswith(b"<!-- promptlearn:begin")
    rule = put_block(None, "Be kind.", ".cursor/rules/learned.mdc")
    assert rule.startswith(b"---\ndescription: ")
    assert read_block(rule, "learned.mdc") == "Be kind."
    assert put_block(None, "Be kind.", "rules.txt").startswith(b"# promptlearn:begin")


@pytest.mark.parametrize("name", ["CLAUDE.md", "rules.txt"])
def test_the_block_is_a_prompt_that_a_run_can_begin_with(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(put_block(b"# House\r\n", "Be kind.", name))
    file = read_prompt(path)
    assert (file.format, file.prompt.text) == ("block", "Be kind.")
    assert file.render_file(file.prompt.with_text("Be brief.")) == put_block(path.read_bytes(), "Be brief.", name)


@pytest.mark.parametrize(
    "text",
    [
        "<!-- promptlearn:begin -->\na\n",
        "a\n<!-- promptlearn:end -->\n",
        "<!-- promptlearn:end -->\n<!-- promptlearn:begin -->\n",
        "<!-- promptlearn:begin -->\n<!-- promptlearn:begin -->\n<!-- promptlearn:end -->\n<!-- promptlearn:end -->\n",
        "<!-- promptlearn:begin -->\n<!-- promptlearn:end -->\n" * 2,
        "<!-- promptlearn:begin a -->\n# promptlearn:begin b\n<!-- promptlearn:end -->\n",
    ],
)
def test_markers_that_do_not_pair_are_an_error(text: str) -> None:
    with pytest.raises(PromptError, match=r"CLAUDE.md: \d promptlearn:begin and \d promptlearn:end markers"):
        put_block(text.encode(), "Be kind.", "CLAUDE.md")


@pytest.mark.parametrize("text", ["a <!-- promptlearn:end --> b", "# promptlearn:begin"])
def test_a_text_that_would_not_read_back_is_refused(text: str) -> None:
    for old in (b"", b"<!-- promptlearn:begin -->\n<!-- promptlearn:end -->\n"):
        with pytest.raises(PromptError, match=r"CLAUDE\.md"):
            put_block(old, f"x\n{text}\ny", "CLAUDE.md")


def test_files_that_no_block_fits_into() -> None:
    with pytest.raises(PromptError, match=r"a block of text would break a \.yaml file"):
        put_block(b"a: 1\n", "Be kind.", "prompts.yaml")
    with pytest.raises(PromptError, match="line 2 is not UTF-8"):
        put_block(b"a\n\xff", "Be kind.", "CLAUDE.md")


def test_which_files_agents_read() -> None:
    read = ["CLAUDE.md", "sub/AGENTS.md", ".cursor/rules/a.mdc", ".github/copilot-instructions.md", ".cursorrules"]
    assert all(map(is_agent_file, read))
    assert not any(map(is_agent_file, ["README.md", "prompts/support.md", "x.yaml"]))
