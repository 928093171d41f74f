"""Where a prompt stands in the copy, and with which bytes."""

from dataclasses import replace
from pathlib import Path

import pytest
from command_bench import RULES, write_repo

from promptlearn.errors import ConfigError
from promptlearn.programs.placing import find_place
from promptlearn.prompt import read_prompt
from promptlearn.records import Demonstration, Prompt, Rule


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_repo(tmp_path / "repo")


def test_a_prompt_of_the_repository_stays_where_it_is_and_around_it_nothing_changes(repo: Path) -> None:
    """Invariant 12."""
    file = read_prompt(repo / "AGENTS.md")
    place = find_place(file, repo, None)
    assert place.path == "AGENTS.md"
    assert place.content(file.prompt).decode() == RULES
    learned = replace(file.prompt, rules=(Rule("Use {braces} and $signs."),))
    assert place.content(learned).decode() == RULES.replace(
        "Be brief.", "Be brief.\n\nRules:\n- Use {braces} and $signs."
    )


def test_a_prompt_from_elsewhere_goes_into_the_managed_block(repo: Path, tmp_path: Path) -> None:
    own = tmp_path / "prompt.md"
    own.write_text("Say more.\n")
    file = read_prompt(own)
    place = find_place(file, repo, None)
    assert place.path == "AGENTS.md"
    assert place.content(file.prompt).decode() == RULES.replace("Be brief.", "Say more.")
    assert find_place(file, repo, "docs/CLAUDE.md").content(file.prompt) == b"Say more.\n"


def test_a_file_without_a_block_gives_way_to_the_prompt(repo: Path) -> None:
    assert find_place(None, repo, "notes.txt").content(Prompt.of("Be brief.")) == b"Be brief.\n"


def test_a_chat_prompt_is_written_as_text_with_its_demonstrations(repo: Path, tmp_path: Path) -> None:
    own = tmp_path / "prompt.yaml"
    own.write_text("messages:\n- {role: system, content: Answer.}\n")
    file = read_prompt(own)
    shown = replace(file.prompt, demonstrations=(Demonstration({"task": "1+1"}, "2"),))
    assert find_place(file, None, None).content(shown) == b"Answer.\n\nExamples:\n\ntask: 1+1\nAnswer: 2\n"


def test_a_file_of_the_same_name_keeps_its_form(repo: Path, tmp_path: Path) -> None:
    own = tmp_path / "prompts.yaml"
    own.write_text("other: 1\nsupport: Be brief.\n")
    file = read_prompt(own, key="support")
    learned = file.prompt.with_text("Be long.")
    assert find_place(file, repo, "config/prompts.yaml").content(learned) == b'other: 1\nsupport: "Be long."\n'


def test_links_are_followed_within_the_repository_and_not_out_of_it(repo: Path, tmp_path: Path) -> None:
    (repo / "CLAUDE.md").symlink_to("AGENTS.md")
    assert find_place(None, repo, "CLAUDE.md").path == "AGENTS.md"
    (repo / "GEMINI.md").symlink_to(tmp_path / "mine.md")
    with pytest.raises(ConfigError, match="leads to"):
        find_place(None, repo, "GEMINI.md")


@pytest.mark.parametrize("path", ["/etc/hosts", "../AGENTS.md", ".git/hooks/pre-commit", "", "shop"])
def test_a_path_that_is_none_of_the_repository_is_refused(repo: Path, path: str) -> None:
    with pytest.raises(ConfigError, match=r"program\.prompt_path"):
        find_place(None, repo, path)
