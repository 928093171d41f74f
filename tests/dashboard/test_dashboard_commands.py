"""What pages ask of the command line: configurations, uploads, answers."""

from pathlib import Path

import pytest

from promptlearn.dashboard import commands
from promptlearn.errors import UsageError

CONFIG = "prompt: p.md\ndata: {file: d.csv}\nmodels: {task: openai/x}\n"


def test_configurations_are_found_in_the_folder_and_nothing_hidden(tmp_path: Path) -> None:
    kept, hidden = ("compare.yaml", "promptlearn.yaml", "shop/promptlearn.yaml"), (".git/a.yaml", "node_modules/a.yaml")
    for name in kept + hidden:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CONFIG)
    (tmp_path / "other.yaml").write_text("services: {}\n")
    found = [str(path) for path in commands.find_configs(tmp_path)]
    assert found == ["promptlearn.yaml", "compare.yaml", "shop/promptlearn.yaml"]


@pytest.mark.parametrize("name", ["../outside.yaml", "/etc/passwd", "link.yaml", "missing.yaml", "notes.txt", ""])
def test_a_configuration_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "outside.yaml").write_text(CONFIG)
    (home / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (home / "notes.txt").write_text(CONFIG)
    with pytest.raises(UsageError):
        commands.config_inside(home, name)


def test_an_upload_is_kept_under_our_own_names(tmp_path: Path) -> None:
    prompt, data = commands.keep_upload(tmp_path, "Help {message}.\r\n", "../../evil name.CSV", b"a,b\n1,2\n")
    assert (prompt.name, data.name) == ("prompt.md", "examples.csv")
    assert prompt.is_relative_to(tmp_path)
    assert prompt.read_bytes() == b"Help {message}.\r\n"
    with pytest.raises(UsageError, match="possible are"):
        commands.keep_upload(tmp_path, "p", "table.exe", b"")


def test_a_command_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    answer = commands.ask(["show", "--json", "--", "--help"], str(tmp_path / "store.db"), tmp_path)
    assert not answer.ok
    assert "there is no store" in answer.message


def test_what_a_run_said_is_shown_without_keys(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("run 01abc: 3 train\npromptlearn: Authorization: Bearer sk-abcdef1234567890\n")
    begun = commands.Started(-1, log)
    assert begun.run() == "01abc"
    assert "sk-abcdef" not in begun.said()


def test_a_run_that_never_began_says_why(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("promptlearn: no file 'x.csv'\n")
    assert commands.Started(-1, log).failed() == "no file 'x.csv'"
