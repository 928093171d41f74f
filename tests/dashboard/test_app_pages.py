"""Every page on stores of every kind."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from dashboard_pages import APP, NAMES, Pages, everything

ALLOWED = ("promptlearn.report", "promptlearn.dashboard", "promptlearn.errors", "promptlearn_app")


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    opened = Pages(tmp_path, tmp_path / ".promptlearn/store.db", monkeypatch)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_store_every_page_says_how_to_begin(pages: Pages, name: str) -> None:
    test = pages.open(name)
    shown = everything(test)
    assert "No run yet" in shown or name == "settings"
    assert not test.error


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda path: path.stem)
def test_the_app_imports_what_reports_and_nothing_else_of_the_library(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.split(".")[0] in {"promptlearn", "promptlearn_app"}:
                assert name == "promptlearn" or name.startswith(ALLOWED), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda path: path.stem)
def test_only_one_module_makes_html_and_none_turns_text_into_markdown(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "html" or any(word.arg == "unsafe_allow_html" for word in node.keywords):
            assert file.stem == "safe", f"{file.name}:{node.lineno} makes HTML"
        if node.func.attr in {"markdown", "write", "caption", "info", "success", "warning", "error"} and node.args:
            known = isinstance(node.args[0], ast.Constant)
            assert known or file.stem == "safe", f"{file.name}:{node.lineno} shows text from outside as Markdown"
