"""What ships is found by name, and what is missing is answered with what there is."""

from pathlib import Path

import pytest

from promptlearn.assets import asset_dir, asset_names, load_yaml_asset
from promptlearn.errors import AssetError


def test_shipped_judge_by_bare_name() -> None:
    assert load_yaml_asset("judges", "correctness")["name"] == "correctness"


def test_path_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\n", encoding="utf-8")
    assert load_yaml_asset("judges", "mine.yaml", tmp_path) == {"name": "mine"}
    assert load_yaml_asset("judges", str(tmp_path / "mine.yaml")) == {"name": "mine"}


def test_users_file_wins_over_the_shipped_one(tmp_path: Path) -> None:
    assert load_yaml_asset("judges", "judges/tone.yaml", tmp_path)["name"] == "tone"
    (tmp_path / "judges").mkdir()
    (tmp_path / "judges" / "tone.yaml").write_text("name: ours\n", encoding="utf-8")
    assert load_yaml_asset("judges", "judges/tone.yaml", tmp_path) == {"name": "ours"}


def test_unknown_name_lists_what_exists() -> None:
    with pytest.raises(AssetError, match=r"did you mean 'correctness'.*possible: .*groundedness.*tone"):
        load_yaml_asset("judges", "corectness")


def test_missing_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"no file 'other/tone.yaml'.*possible: "):
        load_yaml_asset("judges", "other/tone.yaml", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "not valid YAML"),
        (b"- a\n- b\n", "holds list, not a mapping"),
        (b"", "holds NoneType"),
        (b"name: \xff\xfe", "not UTF-8"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_malformed_file_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(AssetError, match=message) as caught:
        load_yaml_asset("judges", "bad.yaml", tmp_path)
    assert "\n" not in str(caught.value)
    assert "bad.yaml" in str(caught.value)


def test_names_are_those_of_the_folder() -> None:
    assert {"correctness", "rubric", "groundedness", "instruction_following", "format", "tone"} <= {
        *asset_names("judges")
    }
    assert asset_dir("judges").joinpath("README.md").is_file()


def test_unknown_folder() -> None:
    with pytest.raises(AssetError, match="possible: judges, meta_prompts, examples"):
        asset_dir("nowhere")
