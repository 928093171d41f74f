"""Opening proposers by name, and the meta-prompt files behind two of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptlearn.errors import AssetError, ConfigError
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing import PROPOSERS, Proposer, open_proposer
from promptlearn.proposing.meta import INPUTS, MetaPrompt

MODEL = ScriptedModel(["hello"])
META_PROMPTS = ("rewrite", "align", "edit", "merge", "rules-from-reviews")


@pytest.mark.parametrize("name", PROPOSERS)
def test_every_proposer_opens_under_its_name(name: str) -> None:
    proposer = open_proposer(name, model=MODEL)
    assert isinstance(proposer, Proposer)
    assert proposer.name == name


def test_a_proposer_that_writes_needs_a_model() -> None:
    for name in ("rewrite", "edit"):
        with pytest.raises(ConfigError, match=r"models\.meta"):
            open_proposer(name, model=None)


def test_an_unknown_name_lists_the_possible_ones() -> None:
    with pytest.raises(ConfigError, match="'magic'; possible: rewrite, edit, rules, demos, prune, merge"):
        open_proposer("magic", model=MODEL)


@pytest.mark.parametrize("name", META_PROMPTS)
def test_every_shipped_meta_prompt_renders_with_and_without_its_material(name: str) -> None:
    meta = MetaPrompt.load(name)
    assert meta.name == name
    empty = meta.messages({}, 100)
    full = meta.messages(dict.fromkeys(meta.inputs - {"max_words", "max_rules", "wish"}, "some words"), 100)
    assert "<<<DATA" not in empty[-1].content
    assert full[-1].content.count("<<<DATA") == len(meta.inputs - {"max_words", "max_rules", "wish"})
    assert "\n\n\n" not in full[-1].content


def test_the_shipped_meta_prompts_use_what_is_declared() -> None:
    for name in META_PROMPTS:
        meta = MetaPrompt.load(name)
        assert all(f"{{{{ {value} }}}}" in meta.template for value in meta.inputs)
        assert meta.inputs <= INPUTS


FILE = "name: mine\nversion: 1\ninputs: [prompt]\nsystem: Improve it.\ntemplate: 'Improve: {{ prompt }}'\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (FILE + "inptus: []\n", "inptus: Extra inputs"),
        (FILE.replace("system: Improve it.\n", ""), "system: Field required"),
        (FILE.replace("{{ prompt }}", "{{ prompt }} {{ modes }}"), "inputs lacks modes"),
        (FILE.replace("[prompt]", "[prompt, mood]"), "unknown inputs mood"),
        (FILE.replace("{{ prompt }}", "{{ prompt"), "line 1"),
    ],
)
def test_a_malformed_meta_prompt_is_refused_in_one_line(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(AssetError, match=complaint) as failure:
        open_proposer("rewrite", model=MODEL, meta_prompt=str(path))
    assert "\n" not in str(failure.value)


def test_a_meta_prompt_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    asked = MetaPrompt.load(str(path)).messages({"prompt": "old"}, 10)[-1].content
    assert asked.startswith("Improve: <<<DATA prompt")


def test_a_meta_prompt_is_the_same_in_every_process() -> None:
    """Invariant 3: a run goes on in another process, where a set of strings has another order."""
    code = "from promptlearn.meta_prompt import MetaPromptFile; print(MetaPromptFile.load('rank').digest)"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
