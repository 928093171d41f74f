"""The docs name what there is, and say what the code says."""

import re
import runpy
from pathlib import Path

import pytest
import typer

from promptlearn.cli.main import app
from promptlearn.judging import CODE_JUDGES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    root = typer.main.get_command(app)
    return sorted(root.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", commands())
def test_the_readme_names_every_command(command: str) -> None:
    assert re.search(rf"`(promptlearn )?{command}`", README)


def test_every_command_and_option_has_a_help_text() -> None:
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", True) or option.param_type_name == "argument", f"{name} {option.name}"


@pytest.mark.parametrize(
    ("folder", "names"),
    [(folder, sorted(path.stem for path in (ROOT / folder).glob("*.yaml"))) for folder in ("judges", "meta_prompts")],
)
def test_the_folder_s_readme_names_every_file(folder: str, names: list[str]) -> None:
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    assert names
    for name in names:
        assert re.search(rf"`{name}(\.yaml)?`", text)


def test_the_judges_readme_names_every_code_judge() -> None:
    text = (ROOT / "judges/README.md").read_text(encoding="utf-8")
    for name in CODE_JUDGES:
        assert f"`{name}`" in text


def test_configuration_and_schema_are_what_the_code_says() -> None:
    """Mend with `python docs/reference.py`."""
    module = runpy.run_path(str(ROOT / "docs/reference.py"))
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == module["reference"]()
    assert (ROOT / "docs/promptlearn.schema.json").read_text(encoding="utf-8") == module["schema"]()


def test_every_configuration_key_is_explained() -> None:
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert "|  |" not in text


def test_relative_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_example_is_python_and_its_yaml_is_a_configuration() -> None:
    import yaml

    from promptlearn.config import parse_config

    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    compile(example, "README.md", "exec")
    (configuration,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert parse_config(yaml.safe_load(configuration)).budget.task_calls == 800
