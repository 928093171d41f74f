"""What is installed is what was tested: the wheel carries its judges, meta-prompts and the example, and finds them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_holds_everything_that_the_library_reads(unpacked: Path) -> None:
    for folder in ("judges", "meta_prompts"):
        names = {path.name for path in (ROOT / folder).glob("*.yaml")}
        assert names
        assert names == {path.name for path in (unpacked / "promptlearn" / folder).glob("*.yaml")}
    for name in ("tickets.csv", "prompt.yaml", "promptlearn.yaml", "review.json"):
        assert (unpacked / "promptlearn/examples/support_triage" / name).is_file()
    assert (unpacked / "promptlearn/py.typed").is_file()
    assert not [path for path in unpacked.iterdir() if path.name in {"judges", "meta_prompts", "tests", "app"}]


@pytest.mark.slow
def test_the_wheel_finds_its_own_files_from_anywhere(unpacked: Path, tmp_path: Path) -> None:
    code = (
        "import promptlearn, promptlearn.assets as assets; print(promptlearn.__file__);"
        "print(sorted(assets.asset_names('judges'))); print(assets.asset_dir('examples'))"
    )
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    output = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
    ).stdout
    package, judges, examples = output.splitlines()
    assert Path(package).is_relative_to(unpacked)
    assert "correctness" in judges
    assert Path(examples).is_relative_to(unpacked)
