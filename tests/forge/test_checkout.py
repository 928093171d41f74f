"""A checkout says where its files are in the repository, and which repository that is."""

import subprocess
from pathlib import Path

import pytest

from promptlearn.errors import UsageError
from promptlearn.forge.checkout import find_root, origin, path_in_checkout


def test_a_path_is_counted_from_the_root_of_the_checkout(tmp_path: Path) -> None:
    file = tmp_path / "repo/prompts/support.md"
    file.parent.mkdir(parents=True)
    file.write_text("Be helpful.")
    with pytest.raises(UsageError, match="stands in no git checkout here; say with --path"):
        path_in_checkout(file, tmp_path)
    (tmp_path / "repo/.git").mkdir()
    assert path_in_checkout(file, Path("/")) == "prompts/support.md"
    assert find_root(file.parent) == tmp_path / "repo"


def test_a_file_of_another_machine_is_found_by_the_end_of_its_path(tmp_path: Path) -> None:
    for name in ("prompts/support.md", "support.md", ".git/support.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert path_in_checkout(Path("/home/runner/shop/prompts/support.md"), tmp_path / "prompts") == "prompts/support.md"
    assert path_in_checkout(Path("/home/runner/shop/support.md"), tmp_path) == "support.md"
    with pytest.raises(UsageError, match="say with --path"):
        path_in_checkout(Path("/home/runner/other.md"), tmp_path)


@pytest.mark.parametrize(
    ("url", "repo"),
    [
        ("https://github.com/shop/support.git", "shop/support"),
        ("https://x-access-token:secret@github.com/shop/support", "shop/support"),
        ("git@github.com:shop/support.git", "shop/support"),
        ("ssh://git@github.com:22/shop/support.dot.git", "shop/support.dot"),
        ("https://gitlab.com/shop/support.git", None),
        ("/srv/git/support.git", None),
        (None, None),
    ],
)
def test_the_repository_that_a_checkout_came_from(tmp_path: Path, url: str | None, repo: str | None) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    if url is not None:
        subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", url], check=True)
    assert origin(tmp_path, "github.com") == repo
