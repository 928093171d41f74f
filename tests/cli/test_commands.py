"""Every command on good input: what is printed where, and the exit code."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import synthetic
import yaml
from seeded_store import seed, working
from shop import write_shop

import promptlearn
from promptlearn.cli.main import execute
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example
from promptlearn.report import sources_in_words
from promptlearn.store import open_store


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What stdout holds: one JSON document and nothing else."""
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command line in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("PROMPTLEARN_STORE", "OPENAI_API_KEY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = execute(list(arguments))
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_shop(tmp_path)


def test_run_prints_the_outcome_on_stdout_and_progress_on_stderr(cli: Cli, shop: Path) -> None:
    done = cli("run")
    assert done.code == 0
    assert "improved: The learned prompt is better." in done.out
    assert "+- A message about a parcel is shipping." in done.out
    assert "No newline at end of file" not in done.out
    assert "next: promptlearn show" in done.out
    assert "round 1 of at most 1" in done.err
    assert "round 1" not in done.out
    assert max(len(line) for line in done.out.splitlines() if "─" in line) <= 80


def test_run_json_has_the_promised_keys(cli: Cli, shop: Path) -> None:
    done = cli("run", "--json", "--quiet")
    result = done.document
    assert (done.code, done.err) == (0, "")
    promised = {
        "run_id",
        "state",
        "stop_reason",
        "decision",
        "baseline",
        "best",
        "delta",
        "usage",
        "candidates",
        "wall_s",
    }
    assert promised <= set(result)
    assert {"digest", "test"} <= set(result["baseline"])
    assert {"digest", "path", "test"} <= set(result["best"])
    assert {"score", "n", "errors", "ci95"} <= set(result["best"]["test"])
    assert {"score", "ci95", "p_value", "test"} <= set(result["delta"])
    assert set(result["usage"]) == {"task", "judge", "meta"}
    for usage in result["usage"].values():
        assert {"calls", "cached_calls", "input_tokens", "output_tokens", "cost_usd"} <= set(usage)
    assert {"proposed", "rejected_by_contract", "gated_out", "raced", "accepted"} <= set(result["candidates"])
    assert result["decision"] == "improved"
    assert Path(result["best"]["path"]).read_text(encoding="utf-8").startswith(synthetic.SEED)


def test_what_a_run_leaves_behind_can_be_looked_at(cli: Cli, shop: Path) -> None:
    """`latest` is the run that learned, also after an evaluation."""
    run = cli("run", "--json", "-q").document["run_id"]
    assert cli("eval", "-q").code == 0

    listed = cli("runs")
    assert run in listed.out
    assert "improved" in listed.out
    assert "evaluated" in listed.out
    assert [one["decision"] for one in cli("runs", "--json").document] == [None, "improved"]

    shown = cli("show")
    assert f"run {run}" in shown.out
    assert "rules of #0" in shown.out
    [heads] = [line.split() for line in shown.out.splitlines() if "expected gain per 100 calls" in line]
    assert heads[:7] == ["proposer", "asked", "made", "run", "gain", "calls", "US$"]
    failures = cli("show", "--failures", "--version", "baseline", "--json").document["modes"]
    counts = [len(one["mode"]["examples"]) for one in failures]
    assert counts == sorted(counts, reverse=True)
    assert all(one["mode"]["evidence"] for one in failures)
    assert failures[0]["mode"]["title"].split()[0] in cli("show", "--failures", "--version", "baseline").out
    document = cli("show", run[:12], "--json").document
    assert document["summary"]["id"] == run
    assert {one["proposer"] for one in document["earnings"]} == {"rules", "demos", "merge"}
    [rules] = [one for one in document["earnings"] if one["proposer"] == "rules"]
    assert rules["asked"] >= rules["drafts"] >= rules["candidates"] > 0
    assert rules["calls"] > 0

    prompt = cli("show", "--prompt")
    assert prompt.out.endswith("- A message about a password is account.\n")
    assert cli("show", "--prompt", "--version", "baseline").out == synthetic.SEED + "\n"

    changed = cli("diff")
    assert changed.out.startswith("--- baseline\n+++ best\n")
    assert cli("diff", "--from", "best").err == "best and best are the same\n"

    rows = cli("show", "--examples", "--split", "test", "--json").document
    assert {row["split"] for row in rows} == {"test"}
    assert all(row["verdicts"][0]["explanation"] for row in rows)


def test_the_end_of_a_resumed_run_says_what_the_stretch_and_what_the_whole_took(cli: Cli, shop: Path) -> None:
    first = cli("run", "-q", "--set", "budget.task_calls=110")
    assert "this stretch" not in first.out
    said = " ".join(cli("resume", "-q", "--set", "budget.task_calls=1000").out.split())
    result = cli("show", "--json").document["result"]
    calls, last = result["spent"]["task"]["calls"], result["usage"]["task"]
    assert result["resumed"]
    assert calls == last["calls"] + last["cached_calls"] > last["calls"] > 0
    assert f"that is this stretch; the run in all: {calls} calls, $0, replies from the journal counted" in said
    assert f"{calls} calls, $0.0000 in all stretches of the run" in cli("report").out


def test_a_killed_run_is_called_so_and_how_it_goes_on(cli: Cli, tmp_path: Path) -> None:
    path, run = seed("running", tmp_path)
    at = ("--store", str(path))
    with open_store(path) as store, working(store, run):
        assert f"run {run}   running" in cli("show", *at).out
        assert [one["state"] for one in cli("runs", "--json", *at).document] == ["running"]
    for shown in (cli("runs", *at).out, cli("show", *at).out):
        assert "killed" in shown
        assert f"`promptlearn resume {run}` goes on with it" in " ".join(shown.split())
    assert [one["state"] for one in cli("runs", "--json", *at).document] == ["killed"]
    assert cli("show", "--json", *at).document["summary"]["state"] == "killed"
    assert "The run is killed" in cli("report", *at).out


def test_rules_are_shown_with_their_sources_and_what_they_are_worth(cli: Cli, shop: Path) -> None:
    """Invariant 11."""
    cli("run", "-q")
    shown = cli("show", "--rules")
    assert "not measured" not in shown.out
    parts = cli("show", "--rules", "--json").document
    assert len(parts) == 4
    assert all(part["sources"].startswith("https://") and part["effect"]["score"] > 0 for part in parts)


def test_what_pruning_measured_is_said_of_earlier_candidates_too(cli: Cli, shop: Path) -> None:
    """Invariant 11: also of a rule that was dropped."""
    idle = {"id": "idle", "body": "Never promise a date.", "author_association": "MEMBER", "state": "approved"}
    reviews = json.loads((shop / "reviews.json").read_text(encoding="utf-8"))
    (shop / "reviews.json").write_text(json.dumps([*reviews, idle]), encoding="utf-8")
    cli("run", "-q", "--set", "search.proposers=[rules]")
    assert "Never promise" not in cli("show", "--prompt").out
    candidates = cli("show", "--json").document["candidates"]
    raced = [(one["number"], taken) for one in candidates for taken in one["decisions"] if taken["stage"] == "race"]
    [winner] = [number for number, taken in raced if taken["outcome"] == "accepted"]

    def idle_rule(version: int) -> dict[str, Any]:
        parts = cli("show", "--rules", "--version", str(version), "--json").document
        return next((part for part in parts if part["text"] == "Never promise a date."), {})

    dropped = idle_rule(winner)
    assert (dropped["effect"]["score"], dropped["measured_in"]) == (0, None)
    assert dropped["effect"]["n"] > 0
    others = [found for one in candidates if one["number"] != winner and (found := idle_rule(one["number"]))]
    assert others
    assert all((one["effect"], one["measured_in"]) == (dropped["effect"], winner) for one in others)
    shown = cli("show", "--rules", "--version", str(winner)).out
    assert "not measured" not in shown
    assert "+0.000 (" in shown


def test_a_source_that_is_a_row_is_shown_by_its_words() -> None:
    rows = {"e1": Example("e1", {"message": "Where is\nmy parcel? " * 9}), "e2": Example("e2", {"message": "Help!"})}
    begins = "“Where is my parcel? Where is my parcel? Where i…”"
    assert sources_in_words(["e1", "label_set@e2"], rows) == f"{begins}; label_set on “Help!”"
    assert sources_in_words(["https://host/p/1", "e2", "e1", "e9"], rows) == "https://host/p/1; “Help!” and 2 more"
    assert sources_in_words(["gone"], rows) == "gone"


def test_the_rows_of_an_evaluation_can_be_shown(cli: Cli, shop: Path) -> None:
    done = cli("eval", "--failures", "2")
    assert done.code == 0
    assert "0.000" in done.out
    advice = next(line for line in done.out.splitlines() if "more rows" in line)
    assert cli(*advice.split("promptlearn ")[1].split()).out.count("Ticket") == 31
    document = cli("eval", "--split", "all", "--json").document
    assert (document["n"], document["score"], document["errors"]) == (120, 0.0, 0)
    assert len(cli("show", document["run_id"], "--examples", "--json").document) == 120
    refused = cli("resume", document["run_id"])
    assert refused.code == 2
    assert "is an evaluation" in refused.err


def test_export_writes_to_stdout_to_a_file_and_in_place_once_and_again(cli: Cli, shop: Path) -> None:
    path = cli("run", "--json", "-q").document["best"]["path"]
    learned = Path(path).read_text(encoding="utf-8")
    assert cli("export").out == learned
    assert cli("export", "--json").document["text"] == learned
    assert cli("export", "--to", "out/learned.md").out == "out/learned.md\n"
    assert (shop / "out/learned.md").read_text(encoding="utf-8") == learned
    assert (shop / "prompt.md").read_text(encoding="utf-8") == synthetic.SEED + "\n"
    for _ in range(2):
        assert cli("export", "--in-place").code == 0
        assert (shop / "prompt.md").read_text(encoding="utf-8") == learned


def test_a_file_beside_the_learned_prompt_says_where_its_parts_came_from(cli: Cli, shop: Path) -> None:
    """Invariant 11."""
    best = cli("run", "--json", "-q").document["best"]
    beside = Path(best["path"]).with_name("prompt.rules.yaml")
    assert best["rules"] == str(beside)
    parts = yaml.safe_load(beside.read_text(encoding="utf-8"))["rules"]
    assert all(part["sources"][0].startswith("https://") for part in parts)
    for part in parts:
        low, high = part["effect"]["ci95"]
        assert low <= part["effect"]["score"] <= high
        assert f"- {part['text']}" in Path(best["path"]).read_text(encoding="utf-8")
    done = cli("export", "--to", "out/learned.md")
    assert "out/learned.rules.yaml" in done.err
    assert yaml.safe_load((shop / "out/learned.rules.yaml").read_text(encoding="utf-8")) == {"rules": parts}
    assert cli("export", "--version", "baseline", "--to", "out/learned.md").code == 0
    assert not (shop / "out/learned.rules.yaml").exists()
    cli("export", "--in-place")
    assert not (shop / "prompt.rules.yaml").exists()
    (shop / "notes.rules.yaml").write_text("mine: true\n", encoding="utf-8")
    refused = cli("export", "--to", "notes.md")
    assert refused.code == 2
    assert "not written by promptlearn" in refused.err
    assert not (shop / "notes.md").exists()
    assert (shop / "notes.rules.yaml").read_text(encoding="utf-8") == "mine: true\n"


def test_export_does_not_undo_what_the_user_has_written_since(cli: Cli, shop: Path) -> None:
    cli("run", "-q")
    (shop / "prompt.md").write_text("My own new words.\n", encoding="utf-8")
    refused = cli("export", "--in-place")
    assert refused.code == 2
    assert "has changed since the run" in refused.err
    assert (shop / "prompt.md").read_text(encoding="utf-8") == "My own new words.\n"


def test_an_older_version_is_exported_elsewhere_whatever_became_of_the_prompt_file(cli: Cli, shop: Path) -> None:
    """Only the prompt file itself could lose what was written since the run."""
    cli("run", "-q")
    seed = (shop / "prompt.md").read_text(encoding="utf-8")
    (shop / "prompt.md").write_text("My own new words.\n", encoding="utf-8")
    assert cli("export", "--version", "baseline").out == seed
    assert cli("export", "--version", "baseline", "--to", "old.md").code == 0
    assert (shop / "old.md").read_text(encoding="utf-8") == seed
    refused = cli("export", "--to", "../" + shop.name + "/prompt.md")
    assert (refused.code, "has changed since the run" in refused.err) == (2, True)
    (shop / "prompt.md").write_text(
        "My own <!-- promptlearn:begin -->\nwords\n<!-- promptlearn:end -->\n", encoding="utf-8"
    )
    refused = cli("export")
    assert refused.code == 2
    assert "has changed since the run, and can not hold this prompt" in refused.err
    assert "promptlearn show" in refused.err


def test_export_replaces_an_earlier_export_and_no_other_file_unless_forced(cli: Cli, shop: Path) -> None:
    learned = cli("run", "--json", "-q").document["best"]["path"]
    table = (shop / "tickets.csv").read_bytes()
    (shop / "README.md").write_text("# Not a prompt at all\n", encoding="utf-8")
    for taken in ("tickets.csv", "model.yaml", "reviews.json", "README.md"):
        refused = cli("export", "--to", taken)
        assert refused.code == 2
        assert f"{taken} exists and is no prompt of this run in the form of prompt.md (text), so it" in refused.err
    assert (shop / "tickets.csv").read_bytes() == table
    (shop / "empty.csv").touch()
    for target in ("new.md", "new.md", "prompt.txt", "empty.csv"):
        assert cli("export", "--to", target).code == 0
        assert (shop / target).read_bytes() == Path(learned).read_bytes()
    assert cli("export", "--version", "baseline", "--to", "prompt.txt").code == 0
    (shop / "new.md").write_text("What I made of it.\n", encoding="utf-8")
    assert cli("export", "--to", "new.md").code == 0  # new.rules.yaml says that it is a prompt of ours
    (shop / "new.rules.yaml").unlink()
    (shop / "new.md").write_text("What I made of it.\n", encoding="utf-8")
    assert cli("export", "--to", "new.md").code == 2
    done = cli("export", "--to", "tickets.csv", "--force")
    assert (done.code, (shop / "tickets.csv").read_bytes()) == (0, Path(learned).read_bytes())
    assert "tickets.csv is in the form of prompt.md (text), whatever its name says" in done.err


def test_a_prompt_from_python_is_exported_as_yaml_and_says_so(cli: Cli, shop: Path) -> None:
    options = {"inputs": ["message"], "expected": "tag", "task": ScriptedModel([], default="shipping")}
    promptlearn.optimize("Name the tag.", synthetic.rows(60), **options)  # type: ignore[arg-type]
    (shop / "notes.md").write_text("My notes.\n", encoding="utf-8")
    for taken in ("notes.md", "tickets.csv", "model.yaml"):
        assert "is no prompt in the form of prompt.yaml (chat)" in cli("export", "--to", taken).err
    for target in ("prompt.yaml", "prompt.yaml", "learned.md", "learned.md"):
        done = cli("export", "--to", target)
        assert (done.code, "whatever its name says" in done.err) == (0, target == "learned.md")
        assert (shop / target).read_text(encoding="utf-8") == cli("export").out


def test_export_knows_the_literals_of_the_configuration(cli: Cli, tmp_path: Path) -> None:
    write_shop(tmp_path, contract={"literals": ["name"]})
    (tmp_path / "prompt.md").write_text("Sign with {name}, literally.\n", encoding="utf-8")
    cli("run", "-q")
    assert cli("export").out.startswith("Sign with {name}, literally.\n")


def test_not_proven_is_3_and_keeps_the_baseline(cli: Cli, shop: Path) -> None:
    (shop / "stubborn.yaml").write_text("default: shipping\n", encoding="utf-8")
    done = cli("run", "-q", "--set", "models.task=scripted/stubborn.yaml")
    assert done.code == 3
    assert "not_proven: No improvement is proven, so the baseline stays." in done.out


def test_a_spent_budget_is_4_and_resume_goes_on(cli: Cli, shop: Path) -> None:
    stopped = cli("run", "--json", "-q", "--set", "budget.task_calls=110")
    assert stopped.code == 4
    assert stopped.document["state"] == "budget"
    assert "not_proven" in cli("runs").out
    done = cli("resume", "--json", "-q", "--set", "budget.task_calls=1000")
    assert done.code == 0
    assert done.document["run_id"] == stopped.document["run_id"]
    assert done.document["usage"]["task"]["cached_calls"] >= stopped.document["usage"]["task"]["calls"]
    assert cli("resume").code == 2


def test_resume_refuses_to_go_on_with_another_task(cli: Cli, shop: Path) -> None:
    cli("run", "-q", "--set", "budget.task_calls=110")
    refused = cli("resume", "--set", "search.seed=7")
    assert refused.code == 2
    assert "can not go on" in refused.err


@pytest.mark.parametrize("command", [("check",), ("run", "--dry-run")])
def test_an_estimate_costs_nothing_and_names_what_is_used(cli: Cli, shop: Path, command: tuple[str, ...]) -> None:
    shown = cli(*command)
    assert shown.code == 0
    assert shown.out.startswith(
        "rows: 46 train, 31 validation, 43 test\njudges: label_set; proposers: rules, demos, merge\n"
    )
    document = cli(*command, "--json").document
    assert document["rows"] == {"train": 46, "validation": 31, "test": 43}
    assert document["roles"]["task"]["calls"] == [51, 1000]
    assert document["roles"]["task"]["cost_usd"] == [0.0, 0.0]
    assert cli("runs", "--json").document == []


def test_check_warns_of_leaks(cli: Cli, tmp_path: Path) -> None:
    rows = synthetic.rows(60)
    write_shop(tmp_path, [*rows, *({**row, "message": row["message"].upper() + "!"} for row in rows)])
    warned = cli("check")
    assert warned.code == 0
    assert "stand in two splits" in warned.err


def test_doctor_looks_at_everything_and_calls_each_model(cli: Cli, shop: Path) -> None:
    found = {one["what"]: one for one in cli("doctor", "--json").document}
    assert found["models.task"]["detail"].startswith("scripted/model.yaml: answered in")
    assert found["store"]["ok"] is None
    cli("run", "-q")
    assert "1 runs" in cli("doctor", "--offline").out


def test_doctor_reports_a_broken_configuration_beside_the_rest(cli: Cli, shop: Path) -> None:
    sick = cli("doctor", "--set", "search.sed=1", "--json")
    assert sick.code == 1
    assert {one["what"]: one["ok"] for one in sick.document}["configuration"] is False
    assert cli("doctor", "-c", "elsewhere.yaml").code == 0


def test_equal_rows_are_counted_and_not_dropped_without_a_word(cli: Cli, tmp_path: Path) -> None:
    rows = synthetic.rows(120)
    write_shop(tmp_path, [*rows, *rows[:3]])
    said = "3 rows are left out, because another row has the same inputs and the same expected value"
    assert said in " ".join(cli("check").err.split())
    checked, ran = cli("check", "--json"), cli("run", "--json", "-q")
    for done in (checked, ran):
        [warning] = [one for one in done.document["warnings"] if "left out" in one]
        assert warning.startswith(said)
    assert sum(checked.document["rows"].values()) == 120


def test_init_writes_a_configuration_that_check_accepts(cli: Cli, shop: Path) -> None:
    (shop / "promptlearn.yaml").unlink()
    made = cli("init", "--prompt", "prompt.md", "--data", "tickets.csv", "--model", "scripted/model.yaml")
    assert (made.code, made.out) == (0, "wrote promptlearn.yaml; next: promptlearn check\n")
    assert cli("check").code == 0
    again = cli("init", "--prompt", "prompt.md", "--data", "tickets.csv")
    assert again.code == 2
    assert "promptlearn.yaml exists" in again.err


def test_init_quotes_what_yaml_would_read_otherwise(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "p: 1.md").write_text("Classify.", encoding="utf-8")
    (tmp_path / "t #1.csv").write_text('no,"text, or so",Label,customer\n1,a,b,c\n', encoding="utf-8")
    assert cli("init", "sub", "--prompt", "p: 1.md", "--data", "t #1.csv").code == 0
    config = yaml.safe_load((tmp_path / "sub/promptlearn.yaml").read_text(encoding="utf-8"))
    assert config["prompt"] == str(tmp_path / "p: 1.md")
    assert config["data"]["file"] == str(tmp_path / "t #1.csv")
    assert config["data"]["inputs"] == ["no", "text, or so"]
    assert (config["data"]["expected"], config["data"]["group"]) == ("Label", "customer")


def test_init_knows_prompts_in_yaml_and_tables_in_other_encodings(cli: Cli, shop: Path) -> None:
    (shop / "prompts.yaml").write_text("support:\n  system: Name the tag.\n", encoding="utf-8")
    table = (shop / "tickets.csv").read_text(encoding="utf-8")
    (shop / "wide.csv").write_text(table, encoding="utf-16")
    given = ["--prompt", "prompts.yaml", "--data", "wide.csv", "--model", f"scripted/{shop}/model.yaml"]
    for more, hint in ([], "--key KEY"), (["--key", "support.system"], "--encoding NAME"):
        refused = cli("init", "sub", *given, *more)
        assert (refused.code, refused.err.strip().endswith(f"; here: {hint}")) == (2, True), refused.err
    assert not (shop / "sub").exists()
    assert cli("init", "sub", *given, "--key", "support.system", "--encoding", "utf-16").code == 0
    assert cli("check", "-c", "sub/promptlearn.yaml", "--set", "judges=[label_set]").code == 0
    assert cli("init", "sub/more", "--example", "--prompt", "prompts.yaml").code == 2


def test_init_copies_the_example_and_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", "triage", "--example")
    assert done.code == 0
    files = sorted(path.name for path in (tmp_path / "triage").iterdir())
    assert "promptlearn.yaml" in files
    assert all(name in done.out for name in files)
    assert cli("init", "again", "--example", "--json").document["files"] == [f"again/{name}" for name in files]
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    refused = cli("init", "--example")
    assert refused.code == 2
    assert "has a README.md already" in refused.err
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


def test_the_store_of_the_configuration_is_the_one_that_is_looked_into(cli: Cli, tmp_path: Path) -> None:
    write_shop(tmp_path, store="kept/here.db")
    run = cli("run", "--json", "-q").document["run_id"]
    assert (tmp_path / "kept/here.db").exists()
    assert not (tmp_path / ".promptlearn").exists()
    assert run in cli("runs").out
    assert cli("show", "--store", "elsewhere.db").code == 2


def test_tables_in_a_pipe_have_one_line_per_row(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("run", "-q")
    monkeypatch.delenv("COLUMNS")
    lines = cli("show").out.splitlines()
    assert any("no better than its parent on 8 train rows" in line for line in lines)


def test_models_list(cli: Cli, tmp_path: Path) -> None:
    assert cli("models", "list").code == 0
    assert [one["name"] for one in cli("models", "list", "--json").document][:1] == ["smollm2-135m-instruct"]


def test_version(cli: Cli, tmp_path: Path) -> None:
    assert cli("--version").out.startswith("promptlearn 0.")


@pytest.mark.parametrize("cap", [130, 174, 1000])
def test_a_budget_without_room_for_a_round_is_named_before_anything_is_paid_for(cli: Cli, shop: Path, cap: int) -> None:
    """Test and validation rows, a minibatch, its gate and the first block of a race."""
    done = cli("check", "--json", "--set", f"budget.task_calls={cap}")
    rows = done.document["rows"]
    least = (2 * rows["test"] + rows["validation"] + 8 + 4 * 8 + 2 * 8) / 0.9
    warned = [text for text in done.document["warnings"] if "holds no round" in text]
    assert bool(warned) == (cap < least)
    if warned:
        enough = int(warned[0].partition("budget.task_calls to at least ")[2].partition(",")[0])
        again = cli("check", "--json", "--set", f"budget.task_calls={enough}")
        assert enough >= least
        assert not any("holds no round" in text for text in again.document["warnings"])
        assert warned[0] in cli("run", "--dry-run", "--json", "--set", f"budget.task_calls={cap}").document["warnings"]


def test_a_run_without_room_for_a_round_says_so_at_its_beginning(cli: Cli, shop: Path) -> None:
    done = cli("run", "--set", "budget.task_calls=110")
    assert "holds no round of the search" in done.err.partition("reading the test split")[0]


def test_the_summary_says_truly_where_candidates_ended(cli: Cli, shop: Path) -> None:
    out = cli("run", "-q").out
    assert "ended at the gate (no better than their parent, or behind a better one)" in out
    result = cli("show", "--json").document["result"]["candidates"]
    assert f"; pruning tried {result['pruned']} shorter prompts" in out


def test_a_mean_over_some_of_the_rows_says_over_how_many(cli: Cli, shop: Path) -> None:
    run = cli("run", "--json", "-q").document["run_id"]
    report = cli("show", run, "--json").document
    means = {(row["split"], row["mean"], row["n"]) for one in report["candidates"] for row in one["scores"]}
    sizes = cli("check", "--json").document["rows"]
    shown = cli("show", run).out
    partial = {f"{mean:.3f} (n={n})" for split, mean, n in means if n < sizes[split]}
    assert partial
    assert all(words in shown for words in partial)
    assert f"(n={sizes['test']})" not in shown


def test_prose_is_folded_where_it_goes_into_a_pipe(cli: Cli, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("run", "-q")
    monkeypatch.delenv("COLUMNS")
    for what in ("--rules", "--failures"):
        lines = cli("show", what, "--version", "best" if what == "--rules" else "baseline").out.splitlines()
        assert 0 < max(map(len, lines)) <= 120
