"""What a command says next is what works: the store is named where later commands would not look."""

from pathlib import Path

import pytest
import yaml
from shop import write_shop

from promptlearn.cli.main import execute


def test_a_store_of_another_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PROMPTLEARN_STORE", raising=False)
    folder = write_shop(tmp_path / "proj", store="kept/store.db")
    monkeypatch.chdir(tmp_path)
    assert execute(["eval", "-c", "proj/promptlearn.yaml", "--quiet", "--failures", "1"]) == 0
    printed = capsys.readouterr().out
    hint = next(line for line in printed.splitlines() if "promptlearn show" in line).partition("promptlearn ")[2]
    assert hint.endswith(f"--store {folder / 'kept' / 'store.db'}")
    assert execute(hint.split()) == 0
    monkeypatch.chdir(folder)
    capsys.readouterr()
    assert execute(["eval", "--quiet", "--failures", "1"]) == 0
    assert "--store" not in capsys.readouterr().out


def test_a_store_without_approved_comments_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_shop(tmp_path)
    config = yaml.safe_load((folder / "promptlearn.yaml").read_text(encoding="utf-8"))
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config | {"reviews": "store"}), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert execute(["run", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "no comment in the store is approved" in " ".join((said.out + said.err).split())
