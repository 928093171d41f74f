"""Bad input: one clear line, the right exit code, nothing lost."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import synthetic
import yaml
from chat_server import Answer, ChatServer
from shop import write_shop, write_table

from promptlearn.cli.main import execute

KEY = "zq-THIS-IS-NO-REAL-KEY-0123456789"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command line in a folder with a configuration that works."""
    write_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("PROMPTLEARN_STORE", "OPENAI_API_KEY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = execute(list(arguments))
        return Outcome(code, *capsys.readouterr())

    return run


def remote(url: str, **more: Any) -> str:
    return "models.task=" + json.dumps({"model": "openai/m", "base_url": url, **more})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.expected=label", "no column 'label'; columns: message, tag"),
        ("data.inputs=[mesage]", "no column 'mesage'; columns: message, tag; did you mean 'message'?"),
        ("data.file=empty.csv", "empty.csv: the file is empty"),
        ("data.file=header.csv", "a header but no rows"),
        ("data.file=nope.csv", "nope.csv: no such file"),
        ("data.file=latin.csv", "row 1 (line 2): column 'message': not UTF-8; save it as UTF-8 or set data.encoding"),
        ("judges=[{use: label_set, options: {labels: [shipping]}}]", "does not know the expected label"),
        ("judges=[label_sett]", "no judge 'label_sett' (did you mean 'label_set'?)"),
        ("judges=[tone]", "judge tone needs models.judge"),
        ("prompt=unbound.md", "prompt variable {mesage} has no column; columns: message"),
        ("prompt=nope.md", "nope.md: no such file"),
        ("search.sed=1", "unknown key `search.sed`; did you mean `seed`?"),
        ("search.seed=many", "`search.seed`: Input should be a valid integer"),
        ("search.proposers=[foo]", "yaml: `search.proposers.0`: Input should be 'rewrite', 'edit'"),
        ("search.proposers=[rewrite]", "rewrite needs a language model; set models.meta"),
        ("models.task=openai/gpt-5-mini", "the environment variable OPENAI_API_KEY that holds its API key is not set"),
        ("models.task=nobody/knows", "model nobody/knows: LiteLLM knows no provider 'nobody'; known are anthropic"),
        ("models.task=scripted/nope.yaml", "no script at"),
        ("budget.task_calls=5", "budget.task_calls = 5 is too small"),
        ("judges=[{use: label_set, gold: true, veto: true}]", "a gold judge is in no score, so its veto means nothing"),
        ("reviews=nope.json", "no reviews at"),
        ("search.seed", "`--set search.seed` is not KEY=VALUE"),
        ("search.seed=[", "the value is not YAML"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_2(cli: Cli, tmp_path: Path, override: str, words: str) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "header.csv").write_text("message,tag\n", encoding="utf-8")
    (tmp_path / "unbound.md").write_text("Classify {mesage}.", encoding="utf-8")
    (tmp_path / "latin.csv").write_bytes("message,tag\ncafé,a\n".encode("latin-1"))
    refused = cli("check", "--set", override)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("promptlearn: ")
    assert refused.err.count("\n") == 1
    assert words in refused.err
    told = cli("run", "--json", "--set", override)
    assert (told.code, told.err) == (2, refused.err)
    assert words in json.loads(told.out)["error"]["message"]


def test_a_list_whose_entries_are_wrong_is_not_said_to_be_empty(cli: Cli) -> None:
    assert cli("check", "--set", "search.proposers=[foo]").err.endswith("or 'merge', not 'foo'\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk"], "No such command 'walk'; see `promptlearn --help`"),
        (["run", "--zzz"], "No such option: --zzz; see `promptlearn run --help`"),
        (["eval", "--split", "best"], "Invalid value for '--split': 'best' is not one of 'train'"),
        (["models"], "Missing command; see `promptlearn models --help`"),
        (["models", "pull", "nobody"], "no model is called 'nobody'"),
        (["show", "--prompt", "--rules"], "give one of them"),
        (["show", "--version", "0"], "--version goes with"),
        (["export", "--to", "x", "--in-place"], "--to and --in-place both say where to write"),
        (["runs"], "there is no store at"),
        (["run", "-c", "nope.yaml"], "no configuration at nope.yaml; make one with `promptlearn init`"),
        (["run", "--store", "prompt.md"], "it is not a promptlearn store"),
        (["init", "new"], "give --prompt FILE and --data FILE, or --example"),
        (["init", "new", "--prompt", "prompt.md", "--data", "nope.csv"], "nope.csv: no such file"),
        (["compare", "--arms", "base"], "base alone compares with nothing; name two arms or more"),
        (["compare", "--arms", "base,prompt,base"], "base is named twice"),
        (["compare", "--seeds", "51"], "compare: `seeds`: Input should be less than or equal to 50"),
        (["judge", "calibrate", "--labels", "nope.csv"], "nope.csv: no such file; name a table that is there (.csv"),
    ],
)
def test_wrong_arguments_are_one_line_and_2_and_one_document_with_json(
    cli: Cli, arguments: list[str], words: str
) -> None:
    refused = cli(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.count("\n") == 1
    assert words in refused.err
    document = json.loads(cli(*arguments, "--json").out)
    assert document["error"]["exit_code"] == 2


def test_control_characters_of_the_data_do_not_reach_the_terminal(cli: Cli, tmp_path: Path) -> None:
    rows = [{**row, "message": row["message"] + " \x1b[31mred\x07"} for row in synthetic.rows(60)]
    write_table(tmp_path / "tickets.csv", rows)
    cli("eval", "-q")
    shown = cli("show", "--examples")
    assert "\\x1b[31mred" in shown.out.replace("\n", "")
    assert "\x1b" not in shown.out


def test_braces_and_a_byte_order_mark_in_the_data_are_data(cli: Cli, tmp_path: Path) -> None:
    """Invariant 12."""
    rows = synthetic.rows(120)
    odd = ["{message}", "{{ tag }}", "{", "}}", "{0} %s $HOME", "{% raw %}", '"quoted", and\nnew line', "\u2028 😀"]
    for at, text in enumerate(odd):
        rows[at] = {**rows[at], "message": f"{text} {rows[at]['message']}"}
    write_table(tmp_path / "tickets.csv", rows, encoding="utf-8-sig")
    assert cli("run", "-q").code == 0
    assert cli("eval", "-q", "--split", "all").code == 0
    run = json.loads(cli("runs", "--json").out)[0]["id"]
    shown = json.loads(cli("show", run, "--examples", "--json").out)
    assert {row["inputs"]["message"] for row in shown} == {row["message"] for row in rows}


def test_latin_1_works_where_it_is_said(cli: Cli, tmp_path: Path) -> None:
    rows = [{**row, "message": row["message"] + " café"} for row in synthetic.rows(60)]
    write_table(tmp_path / "tickets.csv", rows, encoding="latin-1")
    assert cli("check").code == 2
    assert cli("check", "--set", "data.encoding=latin-1").code == 0


def test_a_cell_of_5_mb_goes_through(cli: Cli, tmp_path: Path) -> None:
    rows = synthetic.rows(60)
    rows[0] = {**rows[0], "message": rows[0]["message"] + " " + "x" * 5_000_000}
    write_table(tmp_path / "tickets.csv", rows)
    assert cli("eval", "-q", "--split", "all").code == 0
    assert len(cli("show", "--examples").out) < 200_000


def test_empty_replies_are_5_and_no_score(cli: Cli, tmp_path: Path) -> None:
    """Invariant 4."""
    (tmp_path / "mute.yaml").write_text('default: ""\n', encoding="utf-8")
    mute = cli("run", "-q", "--set", "models.task=scripted/mute.yaml")
    assert mute.code == 5
    assert mute.err.count("\n") == 1
    assert "examples failed, more than search.max_error_share = 0.2; most often" in mute.err
    assert "answered with an empty text" in mute.err
    assert json.loads(cli("runs", "--json").out)[0]["state"] == "failed"


def test_a_wrong_key_is_1_and_the_key_is_nowhere(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 10."""
    monkeypatch.setenv("MY_KEY", KEY)
    body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    with ChatServer(lambda request: Answer(body, status=401)).in_thread() as url:
        task = remote(url, api_key_env="MY_KEY")
        said = [cli("run", "--json", "--set", task), cli("eval", "--set", task), cli("doctor", "--set", task)]
    assert [one.code for one in said] == [1, 1, 1]
    assert "answered 401: wrong API key" in said[0].err
    assert "set the environment variable MY_KEY" in said[0].err
    assert json.loads(said[0].out)["error"]["type"] == "SystemicError"
    assert not any(KEY in one.out + one.err for one in said)
    stored = [path.read_bytes() for path in (tmp_path / ".promptlearn").rglob("*") if path.is_file()]
    assert stored
    assert not any(KEY.encode() in content for content in stored)


@pytest.mark.slow
def test_an_unreachable_endpoint_is_1_within_20_seconds(cli: Cli) -> None:
    started = time.monotonic()
    lost = cli("eval", "-q", "--set", remote("http://127.0.0.1:9/v1"), "--set", "search.concurrency=1")
    assert time.monotonic() - started < 20
    assert lost.code == 1
    assert lost.err.count("\n") == 1
    assert "can not be reached" in lost.err
    assert "check base_url and that the server runs" in lost.err


def test_a_judge_that_breaks_on_import_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemError('no')\n", encoding="utf-8")
    refused = cli("check", "--json", "--set", "judges=['broken:judge']")
    assert refused.code == 2
    assert "can not be imported" in json.loads(refused.out)["error"]["message"]


def test_a_file_that_can_not_be_written_is_one_line(cli: Cli, tmp_path: Path) -> None:
    cli("run", "-q")
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = cli("export", "--to", "file/below.md")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "can not be written" in refused.err


def test_the_configuration_itself(cli: Cli, tmp_path: Path) -> None:
    for text, words in (
        ("", "is empty; it needs the keys prompt, data and models"),
        ("- a\n", "holds a list"),
        ("a: [\n", "is not YAML: line 2, column 1"),
    ):
        (tmp_path / "promptlearn.yaml").write_text(text, encoding="utf-8")
        refused = cli("run")
        assert refused.code == 2
        assert refused.err.count("\n") == 1
        assert words in refused.err
    (tmp_path / "promptlearn.yaml").write_text(yaml.safe_dump({"prompt": "p.md"}), encoding="utf-8")
    assert "`data` is missing; `models` is missing" in cli("run").err


def test_a_judge_that_raises_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text("def tone(example, rollout):\n    raise ValueError('boom')\n", encoding="utf-8")
    broken = cli("run", "-q", "--set", "judges=[house:tone]")
    assert broken.code == 5
    assert "): judge tone: ValueError: boom; mend that" in broken.err
