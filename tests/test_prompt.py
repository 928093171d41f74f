"""Prompt files: what is measured is what the file says, and no byte outside of the prompt changes."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from promptlearn.errors import PromptError
from promptlearn.prompt import PromptFile, bind_variables, chat_file, read_prompt, write_provenance
from promptlearn.records import Contract, Demonstration, Effect, Interval, Message, Prompt, Rule

BLOCK = "# Agents\r\n<!-- promptlearn:begin -->\r\nOld.\r\n<!-- promptlearn:end -->\r\nKeep {this}.\r\n"
FILES = {
    "plain.md": "Label the message.\n",
    "plain_no_end.txt": "Label the message.",
    "crlf.md": "Label\r\nthe message.\r\n",
    "block.mdc": "---\nglobs: '*.py'\n---\n<!-- promptlearn:begin -->\nOld.\n<!-- promptlearn:end -->\ntail",
    "block_crlf.md": BLOCK,
    "empty_block.md": "Top\n<!--promptlearn:begin-->\n<!-- promptlearn:end -->\n",
    "literal.yaml": "# top\na:\n  - text: |  # why\n      Old\n      lines.\n\n\n    b: 1\nc: !x y # end\n",
    "folded.yaml": "a:\n- text: >-\n    Old\n    lines.\n",
    "plain.yaml": "a: [{b: 2}, 3]\np: Old one # comment\nq: 'it''s'\n",
    "multi.yaml": "p: Old one\n  goes on\nq: 1",
    "quoted.yml": 'a: {p: "Old\\none", q: [1, 2]}\n',
    "last.yaml": "p: |\n  Old\n  lines",
    "deep.json": '{\t"a": {"p": "Old \\u00e9", "x": [1, {"y": "Old"}]},\n  "b": null}\n',
    "chat.yaml": (
        "# Ours\n# two lines\nmessages:\n- role: system\n  content: |\n    Label it.\n"
        '- {role: user, content: "{message}"}\ncontract: {locked: ["{message}"], literals: [name]}\n'
    ),
}
KEYS = {
    "literal.yaml": "a.0.text",
    "folded.yaml": "a.0.text",
    "plain.yaml": "p",
    "multi.yaml": "p",
    "quoted.yml": "a.p",
    "last.yaml": "p",
    "deep.json": "a.x.1.y",
}
AROUND = {
    "literal.yaml": ("# top\na:\n  - text: ", "\n\n\n    b: 1\nc: !x y # end\n"),
    "folded.yaml": ("a:\n- text: ", "\n"),
    "plain.yaml": ("a: [{b: 2}, 3]\np: ", "\nq: 'it''s'\n"),
    "multi.yaml": ("p: ", "\nq: 1"),
    "quoted.yml": ("a: {p: ", ", q: [1, 2]}\n"),
    "last.yaml": ("p: ", ""),
    "deep.json": ('{\t"a": {"p": "Old \\u00e9", "x": [1, {"y": ', '}]},\n  "b": null}\n'),
}

characters = st.one_of(
    st.sampled_from(list("ab \t\n#:|>-'\"\\%@&*!?[]{},`$<é字\u2028\x85\x7f\ufeff🙂")),
    st.characters(exclude_categories=["Cs"]),
)
words = st.text(characters, max_size=40).filter(lambda text: bool(text.strip()) and "{" not in text)
values = st.one_of(words, st.none(), st.booleans(), st.integers(-5, 5), st.lists(words, max_size=2))
rules = st.builds(
    Rule,
    text=words,
    sources=st.lists(words, max_size=2).map(tuple),
    effect=st.none()
    | st.builds(Effect, st.floats(-1, 1), st.builds(Interval, st.floats(-1, 0), st.floats(0, 1)), st.just(9)),
)
demonstrations = st.builds(
    Demonstration, inputs=st.fixed_dictionaries({"message": values}), output=words, source=st.just("") | words
)


def make(folder: Path, name: str) -> PromptFile:
    path = folder / name
    path.write_bytes(FILES[name].encode())
    return read_prompt(path, KEYS.get(name))


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=words, learned=st.lists(rules, max_size=2), shown=st.lists(demonstrations, max_size=2))
@example(text=" leading\n\ttab\n\n  end \n\n", learned=[], shown=[])
@example(text="\n\n  x", learned=[Rule("- a\n")], shown=[])
@example(text="a\nb\n", learned=[], shown=[])
@example(text="---\n...\n# no", learned=[], shown=[Demonstration({"message": "no"}, "2024-01-01")])
def test_what_is_measured_is_what_the_file_says(
    tmp_path: Path, name: str, text: str, learned: list[Rule], shown: list[Demonstration]
) -> None:
    """Invariant 12: a written prompt renders to exactly the messages of the prompt that was measured."""
    file = make(tmp_path, name)
    prompt = replace(file.prompt.with_text(text), rules=tuple(learned), demonstrations=tuple(shown))
    prompt = bind_variables(prompt, ["message"], file.literals)
    file.write(prompt)
    again = read_prompt(file.path, file.key)
    bound = bind_variables(again.prompt, ["message"], again.literals)
    inputs = {"message": "Where is {message}?"}
    assert bound.render(inputs) == prompt.render(inputs)
    assert bound.contract.locked == file.prompt.contract.locked
    if file.format == "chat":
        assert (bound.rules, bound.demonstrations) == (prompt.rules, prompt.demonstrations)
        assert bound.digest == prompt.digest


@pytest.mark.parametrize("name", FILES)
def test_an_unchanged_prompt_leaves_the_file_as_it_is(tmp_path: Path, name: str) -> None:
    file = make(tmp_path, name)
    assert file.render_file(bind_variables(file.prompt, ["message"], ["this", *file.literals])) == FILES[name].encode()


@pytest.mark.parametrize("name", KEYS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=words)
def test_every_byte_outside_of_the_value_stays(tmp_path: Path, name: str, text: str) -> None:
    file = make(tmp_path, name)
    before, after = AROUND[name]
    written = file.render_file(file.prompt.with_text(text)).decode()
    assert written.startswith(before)
    assert written.endswith(after)


def test_a_literal_block_keeps_its_style_comment_and_indent(tmp_path: Path) -> None:
    file = make(tmp_path, "literal.yaml")
    assert file.render_file(file.prompt.with_text("New\n  one")).decode() == (
        "# top\na:\n  - text: |  # why\n      New\n        one\n\n\n    b: 1\nc: !x y # end\n"
    )


def test_several_lines_become_a_literal_block(tmp_path: Path) -> None:
    file = make(tmp_path, "plain.yaml")
    written = file.render_file(file.prompt.with_text("New\none")).decode()
    assert written == "a: [{b: 2}, 3]\np: |- # comment\n  New\n  one\nq: 'it''s'\n"


def test_json_changes_one_string(tmp_path: Path) -> None:
    file = make(tmp_path, "deep.json")
    written = file.render_file(file.prompt.with_text('New "é"\n')).decode()
    assert written == FILES["deep.json"].replace('"y": "Old"', '"y": "New \\"é\\"\\n\\n"')


def test_bytes_around_a_block_stay(tmp_path: Path) -> None:
    path = tmp_path / "AGENTS.md"
    path.write_bytes(b"\xef\xbb\xbf" + BLOCK.encode())
    file = read_prompt(path)
    written = file.write(file.prompt.with_text("New\nlines."))
    assert path.read_bytes() == written == b"\xef\xbb\xbf" + BLOCK.replace("Old.", "New\r\nlines.").encode()


def test_the_model_sees_the_whole_file_around_a_block(tmp_path: Path) -> None:
    file = make(tmp_path, "block_crlf.md")
    assert file.prompt.text == "Old."
    assert file.prompt.render({"message": "Hi"})[0].content == BLOCK.replace("\r\n", "\n")


def test_an_empty_block_can_be_learned(tmp_path: Path) -> None:
    file = make(tmp_path, "empty_block.md")
    written = file.render_file(replace(file.prompt, rules=(Rule("Be kind."),))).decode()
    assert written == ("Top\n<!--promptlearn:begin-->\n\n\nRules:\n- Be kind.\n<!-- promptlearn:end -->\n")


def test_the_last_line_end_is_not_part_of_the_prompt(tmp_path: Path) -> None:
    assert make(tmp_path, "plain.md").prompt.text == "Label the message."
    assert make(tmp_path, "literal.yaml").prompt.text == "Old\nlines."
    assert make(tmp_path, "chat.yaml").prompt.text == "Label it."


def test_chat_yaml_reads_and_writes_readable(tmp_path: Path) -> None:
    file = make(tmp_path, "chat.yaml")
    assert file.format == "chat"
    assert file.literals == ("name",)
    assert file.prompt.contract.locked == ("{message}",)
    effect = Effect(0.25, Interval(0.1, 0.4), 40)
    prompt = replace(
        file.prompt.with_text("Label it.\nDo."),
        rules=(Rule("Lost is `shipping`.", ("e1",), effect),),
        demonstrations=(Demonstration({"message": "no"}, "ja\nsí", "e2"),),
    )
    assert (
        file.render_file(prompt).decode()
        == """\
# Ours
# two lines
messages:
- role: system
  content: |
    Label it.
    Do.
- {role: user, content: "{message}"}
contract: {locked: ["{message}"], literals: [name]}
rules:
- text: Lost is `shipping`.
  sources:
  - e1
  effect:
    score: 0.25
    ci95:
    - 0.1
    - 0.4
    n: 40
demonstrations:
- inputs:
    message: 'no'
  output: |-
    ja
    sí
  source: e2
"""
    )


def test_a_chat_file_keeps_every_byte_that_says_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(
        """# Ours
messages:
  # the system turn
  - role: system   # what it is
    content: |

      Label it.
  - role: user
    content: >-
      Message:
      {message}

rules:   # learned in May
  - text: Old one.
# what no rewrite may break
contract:
    max_tokens: 400   # ours
""",
        encoding="utf-8",
    )
    file = read_prompt(path)
    learned = replace(file.prompt, rules=(Rule("New one."), Rule("Another.")))
    assert file.render_file(learned).decode() == path.read_text(encoding="utf-8").replace(
        "rules:   # learned in May\n  - text: Old one.\n", "rules:\n- text: New one.\n- text: Another.\n"
    )
    assert file.render_file(replace(file.prompt, rules=())).decode() == path.read_text(encoding="utf-8").replace(
        "rules:   # learned in May\n  - text: Old one.\n", ""
    )
    text = file.render_file(file.prompt.with_text("Say which it is.")).decode()
    assert text == path.read_text(encoding="utf-8").replace("\n      Label it.\n", "      Say which it is.\n")


def test_a_chat_file_in_flow_style_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text('{messages: [{role: system, content: "Label it."}], contract: {max_tokens: 9}}', encoding="utf-8")
    file = read_prompt(path)
    written = file.render_file(replace(file.prompt, rules=(Rule("New one."),)))
    assert (
        written
        == b"messages:\n- role: system\n  content: Label it.\nrules:\n- text: New one.\ncontract:\n  max_tokens: 9\n"
    )


def test_chat_yaml_reads_plain_words_as_text(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "messages: [{role: system, content: Hi}]\n"
        "demonstrations: [{inputs: {a: 2024-01-01, b: yes, c: true, d: 3}, output: no}]\n"
    )
    demo = read_prompt(path).prompt.demonstrations[0]
    assert demo == Demonstration({"a": "2024-01-01", "b": "yes", "c": True, "d": 3}, "no")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("messages: [{rol: system, content: x}]", "unknown key `messages.0.rol`; possible: role"),
        ("messages: [{role: system, content: x, name: y}]", "unknown key `messages.0.name`; possible: role, content"),
        ("messages: [{role: robot, content: x}]", "messages.0.role"),
        ("messages: [{role: system, content: 5}]", "messages.0.content.*quotes"),
        ("messages: [{role: system}]", "key `messages.0.content` is missing"),
        ("messages: []", "at least one message"),
        ("messages: [{role: system, content: ' '}]", "messages.0.content is empty"),
        ("messages: [{role: system, content: x}]\nrule: []", "unknown key `rule`; possible: messages, rules"),
        (
            "messages: [{role: system, content: x}]\ncontract: {lock: []}",
            "unknown key `contract.lock`; possible: locked, max_tokens, literals, output_schema",
        ),
        ("messages: [{role: system, content: x}]\ncontract: {locked: [y]}", "'y' does not stand in the prompt"),
        ("prompts: {a: b}\nother: 1", "keys there: prompts, other"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_yaml_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(PromptError, match=message) as caught:
        read_prompt(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "key", "message"),
    [
        ("p.yaml", "a:\n  b: x", "a.c", "no key `c` under `a`.*keys there: b"),
        ("p.yaml", "a:\n  b: x", "a.b.c", "keys there: none, it is a text"),
        ("p.yaml", "a:\n  b: x", "a", "`a` is a mapping, not text; go on with one of: b"),
        ("p.yaml", "a: 5", "a", "`a` is an int, not text; quote it"),
        ("p.yaml", "a:", "a", "`a` is null"),
        ("p.yaml", "a: &x Hi\nb: *x", "b", "shared through the YAML anchor &x"),
        ("p.yaml", "a: ''", "a", "is empty"),
        ("p.json", '{"a": [1]}', "a.1", "no key `1` under `a`.*keys there: 0"),
        ("p.json", '{"a": }', "a", "not JSON: .* line 1, column 7"),
        ("p.json", '{"a": "b"}', None, "keys there: a"),
        ("p.md", "Hi", "a", "a key needs a .yaml, .yml or .json file"),
        ("p.md", " \n", None, "the prompt is empty"),
        ("p.md", "<!-- promptlearn:begin -->\nHi", None, "1 promptlearn:begin and 0 promptlearn:end"),
        ("p.md", "<!-- promptlearn:end -->Hi<!-- promptlearn:begin -->", None, "a managed block is one"),
        ("p.md", "a\n<!-- promptlearn:keep -->Hi", None, "in line 2 has no"),
    ],
)
def test_a_wrong_file_or_key_is_one_line(tmp_path: Path, name: str, text: str, key: str | None, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(PromptError, match=message) as caught:
        read_prompt(tmp_path / name, key)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_missing_folders_and_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="no such file"):
        read_prompt(tmp_path / "nothing.md")
    with pytest.raises(PromptError, match="can not be read"):
        read_prompt(tmp_path)
    (tmp_path / "latin.md").write_bytes(b"one\ncaf\xe9")
    with pytest.raises(PromptError, match="line 2 is not UTF-8"):
        read_prompt(tmp_path / "latin.md")


def test_keys_with_dots_are_found(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("models:\n  gpt-4.1: Hi\n")
    assert read_prompt(tmp_path / "p.yaml", "models.gpt-4.1").prompt.text == "Hi"


def test_kept_spans_are_locked_with_their_markers(tmp_path: Path) -> None:
    span = "<!-- promptlearn:keep -->Never promise.<!-- /promptlearn:keep -->"
    (tmp_path / "p.md").write_text(f"Hi.\n{span}\nBye.\n")
    file = read_prompt(
        tmp_path / "p.md", locked=["Bye."], max_tokens=9, literals=["x"], output_schema={"type": "object"}
    )
    assert file.prompt.contract.locked == ("Bye.", span)
    assert file.prompt.contract.max_tokens == 9
    assert file.prompt.contract.output_schema == {"type": "object"}
    assert file.literals == ("x",)


def test_variables_are_the_columns_that_the_prompt_mentions() -> None:
    prompt = Prompt((Message("system", 'Use {tier}. Reply {"label": "x"} as {name}.'), Message("user", "{message}")))
    bound = bind_variables(prompt, ["message", "tier", "unused"], ["name"])
    assert bound.contract.variables == {"message", "tier"}
    with pytest.raises(PromptError) as caught:
        bind_variables(prompt, ["message", "tier"])
    assert str(caught.value) == (
        "prompt variable {name} has no column; columns: message, tier; "
        "rename it, map it under data.inputs, or declare it under `contract.literals`"
    )


def test_braces_around_a_block_are_plain_text(tmp_path: Path) -> None:
    file = make(tmp_path, "block_crlf.md")
    assert bind_variables(file.prompt, ["message"]).contract.variables == frozenset()
    assert bind_variables(file.prompt, ["this"]).contract.variables == {"this"}


def test_a_prompt_that_can_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    file = make(tmp_path, "block.mdc")
    with pytest.raises(PromptError):
        file.write(file.prompt.with_text("x <!-- promptlearn:end --> y"))
    with pytest.raises(PromptError, match="surrogate"):
        file.write(file.prompt.with_text("\ud83d"))
    assert file.path.read_bytes() == FILES["block.mdc"].encode()


def test_edits_of_the_user_are_not_overwritten(tmp_path: Path) -> None:
    file = make(tmp_path, "plain.md")
    file.path.write_text("Mine.\n")
    with pytest.raises(PromptError, match="changed since it was read"):
        file.write(file.prompt.with_text("New."))
    file.write(file.prompt.with_text("New."), tmp_path / "runs" / "best.md")
    assert file.path.read_text() == "Mine.\n"
    assert (tmp_path / "runs" / "best.md").read_text() == "New.\n"


def test_writing_keeps_links_and_modes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    real = tmp_path / "AGENTS.md"
    real.write_text("Old.\n")
    real.chmod(0o640)
    link = tmp_path / "CLAUDE.md"
    link.symlink_to(real)
    file = read_prompt(link)
    file.write(file.prompt.with_text("New."))
    assert link.is_symlink()
    assert real.read_text() == "New.\n"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["AGENTS.md", "CLAUDE.md"]


def test_a_disk_that_refuses_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = make(tmp_path, "plain.md")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(PromptError, match="can not be written"):
        file.write(file.prompt.with_text("New."), tmp_path / "taken" / "best.md")
    assert file.path.read_text() == FILES["plain.md"]


def test_a_prompt_made_in_python_gets_a_chat_file(tmp_path: Path) -> None:
    contract = Contract(variables=frozenset({"message"}), locked=("Label",), max_tokens=900, output_schema={"a": 1})
    made = Prompt((Message("system", "Label {it}."), Message("user", "{message}")), contract=contract)
    better = replace(made, rules=(Rule("Be brief."),), demonstrations=(Demonstration({"message": "Hi"}, "x"),))
    file = chat_file(made)
    file.write(better, tmp_path / "best.yaml")
    again = read_prompt(tmp_path / "best.yaml")
    assert bind_variables(again.prompt, ["message"], again.literals) == better
    assert file.source == chat_file(made).render_file(made)


@pytest.mark.parametrize("name", ["plain.md", "block.mdc", "chat.yaml"])
def test_a_prompt_of_any_file_can_go_into_a_chat_file(tmp_path: Path, name: str) -> None:
    prompt = bind_variables(make(tmp_path, name).prompt, ["message"])
    learned = replace(prompt, rules=(Rule("Be brief."),), demonstrations=(Demonstration({"message": "Hi"}, "x"),))
    chat_file(prompt).write(learned, tmp_path / "best.yaml")
    again = read_prompt(tmp_path / "best.yaml")
    inputs = {"message": "Where?"}
    assert bind_variables(again.prompt, ["message"], again.literals).render(inputs) == learned.render(inputs)


def test_other_readers_see_what_we_wrote(tmp_path: Path) -> None:
    text = " a: 'b'\n\n\t{x} # \\ é\n"
    in_yaml, in_json = make(tmp_path, "literal.yaml"), make(tmp_path, "deep.json")
    in_yaml.write(in_yaml.prompt.with_text(text))
    in_json.write(in_json.prompt.with_text(text))
    document = yaml.safe_load(in_yaml.path.read_text().replace("!x ", ""))
    assert document["a"][0]["text"] == text + "\n"
    assert json.loads(in_json.path.read_text())["a"]["x"][1]["y"] == text + "\n"


def test_demonstrations_of_one_s_own_have_no_provenance(tmp_path: Path) -> None:
    """A file beside the prompt says where learned parts came from; where nothing was learned there is none."""
    demo = Demonstration({"q": "Where is it?"}, "shipping")
    beside = tmp_path / "prompt.md"
    assert write_provenance(None, Prompt((Message("system", "Sort."),), demonstrations=(demo,)), beside) is None
    assert not beside.with_name("prompt.rules.yaml").exists()
    learned = replace(demo, source="e1")
    written = write_provenance(None, Prompt((Message("system", "Sort."),), demonstrations=(learned,)), beside)
    assert written is not None
    assert "e1" in written.read_text(encoding="utf-8")
