"""A command that reads several prompts, each from a file of its own."""

import asyncio
import json
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import yaml
from typer.testing import CliRunner

from promptlearn.assembly import assemble
from promptlearn.cli.main import app
from promptlearn.config import load_config, parse_config
from promptlearn.errors import ConfigError, PromptError
from promptlearn.prompt.bundle import read_bundle
from promptlearn.records import Rule

FIND = "Name the topic.\n"
LABEL = "# House style\n\n<!-- promptlearn:begin -->\nTag the topic.\n<!-- promptlearn:end -->\n\nThe end.\n"
AGENT = """
    import json, os, pathlib, sys
    asked = json.loads(sys.stdin.read())["inputs"]["message"]
    find = pathlib.Path(os.environ["PROMPTLEARN_PROMPT_FIND"]).read_text()
    label = pathlib.Path("prompts/label.md").read_text()
    topic = next(word for word in ("parcel", "invoice", "password", "jacket") if word in asked)
    said = topic if "one word" in find else "I think it is the " + topic
    print(json.dumps({"turn": {"content": said, "prompt": "find"}}))
    tags = {"parcel": "shipping", "invoice": "billing", "password": "account", "jacket": "returns"}
    tag = tags.get(said, "unknown") if "from the list" in label else "some tag"
    print(json.dumps({"turn": {"content": tag, "prompt": "label"}}))
    print(json.dumps({"output": tag}))
"""


def write_folder(folder: Path) -> Path:
    (folder / "repo/prompts").mkdir(parents=True)
    (folder / "repo/prompts/find.md").write_text(FIND, encoding="utf-8")
    (folder / "repo/prompts/label.md").write_text(LABEL, encoding="utf-8")
    (folder / "agent.py").write_text(textwrap.dedent(AGENT), encoding="utf-8")
    lines = ["message,tag", *(f"{row['message']},{row['tag']}" for row in synthetic.rows(60))]
    (folder / "tickets.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "prompt": {"files": {"find": "repo/prompts/find.md", "label": "repo/prompts/label.md"}},
        "data": {"file": "tickets.csv", "inputs": ["message"], "expected": "tag"},
        "program": {"command": [sys.executable, "-S", str(folder / "agent.py")], "repo": "repo"},
        "store": "store.db",
    }
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def test_each_prompt_stands_in_its_own_file_and_turns_say_whose_they_are(tmp_path: Path) -> None:
    job = assemble(load_config(write_folder(tmp_path) / "promptlearn.yaml"))
    assert job.prompt.parts == ("find", "label")
    assert job.program is not None
    rules = (Rule("Use one word.", part="find"), Rule("Take the tag from the list."))
    example = job.dataset.examples[0]
    with job.store:
        program = job.program.open(job.task)
        bare = asyncio.run(program.run(job.prompt, example))
        taught = asyncio.run(program.run(replace(job.prompt, rules=rules), example))
        asyncio.run(job.task.close())
    assert bare.error is None
    assert bare.output == "some tag"
    assert [turn.prompt for turn in taught.turns] == ["find", "label"]
    assert taught.output == example.expected


def test_a_bundle_goes_back_into_its_files_and_nothing_else_changes(tmp_path: Path) -> None:
    """Invariant 12."""
    folder = write_folder(tmp_path) / "repo/prompts"
    bundle = read_bundle({"find": folder / "find.md", "label": folder / "label.md"})
    assert bundle.render(bundle.prompt) == {"find": FIND.encode(), "label": LABEL.encode()}
    learned = replace(bundle.prompt, rules=(Rule("Use one word.", part="find"), Rule("Be terse.")))
    bundle.write(learned)
    assert (folder / "find.md").read_text() == "Name the topic.\n\nRules:\n- Use one word.\n"
    assert (folder / "label.md").read_text() == LABEL.replace("topic.\n", "topic.\n\nRules:\n- Be terse.\n")
    (folder / "find.md").write_text("Changed meanwhile.\n")
    with pytest.raises(PromptError, match="changed since it was read"):
        bundle.write(learned)


def test_what_can_not_be_one_of_several_prompts_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "own.md").write_text("# predictor: find\nName it.\n", encoding="utf-8")
    (folder / "other.json").write_text(json.dumps({"a": "x"}), encoding="utf-8")
    with pytest.raises(PromptError, match="divides prompts"):
        read_bundle({"a": folder / "own.md", "b": folder / "repo/prompts/find.md"})
    with pytest.raises(ConfigError, match="for a `program` that is a command"):
        parse_config(
            {
                "prompt": {"files": {"a": "a.md", "b": "b.md"}},
                "data": {"file": "x.csv", "inputs": ["m"]},
                "models": {"task": "scripted/x.yaml"},
            }
        )


def test_a_run_exports_every_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path)
    monkeypatch.chdir(folder)
    shared = ["--set", "search.rounds=0", "--set", "judges=[exact_match]", "--quiet"]
    ran = CliRunner().invoke(app, ["run", *shared])
    assert ran.exit_code == 3, ran.output  # nothing was learned, so nothing is proven
    told = CliRunner().invoke(app, ["export", "--to", "out", "--json"])
    assert told.exit_code == 0, told.output
    assert (folder / "out/label.md").read_text() == LABEL
    bare = CliRunner().invoke(app, ["export"])
    assert "give --in-place, or --to FOLDER" in str(bare.exception)


def test_show_says_which_prompt_each_candidate_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 11."""
    monkeypatch.chdir(write_folder(tmp_path))
    review = {"id": "r1", "body": "Use one word.", "author_association": "MEMBER", "state": "approved"}
    Path("reviews.json").write_text(json.dumps([review]), encoding="utf-8")
    sets = ["reviews=reviews.json", "judges=[exact_match]", "search.proposers=[rules]", "search.rounds=2"]
    ran = CliRunner().invoke(app, ["run", "--json", "--quiet", *(word for one in sets for word in ("--set", one))])
    assert ran.exit_code == 3, ran.output  # one word alone gets no tag right
    shown = CliRunner().invoke(app, ["show"]).output
    assert "find" in shown
    assert "label" in shown
    candidates = json.loads(CliRunner().invoke(app, ["show", "--json"]).output)["candidates"]
    assert [one["changed"] for one in candidates] == [[], ["find"], ["label"]]
    for version, name in ((1, "find"), (2, "label")):
        rules = CliRunner().invoke(app, ["show", "--rules", "--version", str(version), "--json"]).output
        assert [one["kind"] for one in json.loads(rules)] == [f"rule of {name}"]
