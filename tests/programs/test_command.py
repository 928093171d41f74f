"""Commands as programs: what they get, what is read from them, and what is left when they are gone."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from command_bench import RULES, example, opened, run, script, write_repo

from promptlearn.errors import ConfigError
from promptlearn.programs.command import Command, CommandOptions
from promptlearn.programs.process import Bounds
from promptlearn.programs.workshop import PREFIX
from promptlearn.prompt import read_prompt
from promptlearn.records import Prompt


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_repo(tmp_path / "repo")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary folders of the test's own, and nothing left in them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_command_gets_prompt_and_example_and_its_text_is_the_output(repo: Path, tmp_path: Path) -> None:
    words = script(
        tmp_path,
        """
        import json, os, sys
        asked = json.load(sys.stdin)
        assert asked == json.load(open(os.environ["PROMPTLEARN_EXAMPLE"]))
        prompt = open("AGENTS.md").read()
        assert prompt == open(os.environ["PROMPTLEARN_PROMPT"]).read()
        print(sorted(asked), asked["inputs"]["task"])
        print("Be brief." in prompt, sorted(os.listdir(".")))
        """,
    )
    rollout = run(CommandOptions(words, repo), repo / "AGENTS.md")
    assert rollout.error is None
    assert rollout.output.splitlines() == [
        "['id', 'inputs'] Raise the price.",
        "True ['.gitignore', 'AGENTS.md', 'notes.txt', 'shop']",
    ]
    assert (rollout.stop_reason, rollout.evidence["exit_code"]) == ("stop", 0)
    assert (rollout.evidence["diff"], rollout.evidence["files"]) == ("", {})
    assert rollout.usage.calls == 1
    assert rollout.usage.cost_usd is None  # it said nothing about it


def test_what_was_changed_in_the_copy_is_a_diff_and_the_repository_stays(repo: Path, tmp_path: Path) -> None:
    words = script(
        tmp_path,
        """
        import os
        open("shop/prices.py", "w").write("PRICE = 2\\n")
        open("new.txt", "w").write("hello\\n")
        os.remove("notes.txt")
        os.mkdir("build"); open("build/ignored.bin", "w").write("x")
        """,
    )
    before = {path: path.read_bytes() for path in repo.rglob("*") if path.is_file()}
    evidence = run(CommandOptions(words, repo), repo / "AGENTS.md").evidence
    assert evidence["files"] == {"new.txt": "added", "notes.txt": "deleted", "shop/prices.py": "changed"}
    lines = evidence["diff"].splitlines()
    for line in ("-PRICE = 1", "+PRICE = 2", "+++ b/shop/prices.py", "+++ b/new.txt", "+hello", "--- a/notes.txt"):
        assert line in lines
    assert {path: path.read_bytes() for path in repo.rglob("*") if path.is_file()} == before


def test_an_exit_code_is_a_result_and_no_failure(repo: Path, tmp_path: Path) -> None:
    words = script(tmp_path, "import sys; print('gave up'); print('why', file=sys.stderr); sys.exit(3)")
    rollout = run(CommandOptions(words, repo))
    assert rollout.error is None
    assert (rollout.output, rollout.stop_reason) == ("gave up", "exit 3")
    assert (rollout.evidence["exit_code"], rollout.evidence["stderr"]) == (3, "why\n")


def test_a_command_that_runs_past_its_time_is_a_failure_and_leaves_no_process(repo: Path, tmp_path: Path) -> None:
    """Invariant 4: a timeout is no score; children die with it, one that left its session too."""
    pids = tmp_path / "pids"
    words = script(
        tmp_path,
        f"""
        import os, subprocess, sys, time
        sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
        open({str(pids)!r}, "w").write(" ".join(str(child.pid) for child in children))
        time.sleep(60)
        """,
    )
    started = time.monotonic()
    rollout = run(CommandOptions(words, repo, timeout_s=1.5))
    assert time.monotonic() - started < 20
    assert rollout.error is not None
    assert (rollout.error.kind, rollout.output) == ("timeout", "")
    assert "ran past 1.5 s" in rollout.error.message
    for pid in pids.read_text().split():
        assert is_gone(int(pid))


def is_gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_background_process_does_not_keep_the_rollout_waiting(repo: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    words = script(
        tmp_path,
        f"""
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        open({str(pids)!r}, "w").write(str(child.pid)); print("done")
        """,
    )
    started = time.monotonic()
    assert run(CommandOptions(words, repo)).output == "done"
    assert time.monotonic() - started < 20
    assert is_gone(int(pids.read_text()))


def test_the_check_sees_the_answer_and_the_command_does_not(repo: Path, tmp_path: Path) -> None:
    words = script(tmp_path, "import sys; open('seen', 'w').write(sys.stdin.read())")
    check = script(
        tmp_path,
        """
        import json, os, sys
        assert "secret answer" not in open("seen").read()
        assert json.load(open(os.environ["PROMPTLEARN_EXAMPLE"]))["expected"] == "secret answer"
        print("FAILED tests/test_a.py::test_one - assert 1 == 2")
        print("==== 1 failed, 2 passed, 1 skipped in 0.12s ====")
        sys.exit(1)
        """,
        "check.py",
    )
    checked = run(CommandOptions(words, repo, check=check)).evidence["check"]
    assert (checked["exit_code"], checked["passed"], checked["failed"], checked["skipped"]) == (1, 2, 1, 1)
    assert checked["names"] == ["tests/test_a.py::test_one"]


def test_the_check_s_junit_file_is_read_and_its_traces_are_no_part_of_the_diff(repo: Path, tmp_path: Path) -> None:
    report = '<testsuite><testcase name="a"/><testcase classname="t" name="b"><failure/></testcase></testsuite>'
    check = script(tmp_path, f"open('junit.xml', 'w').write({report!r}); raise SystemExit(1)", "check.py")
    evidence = run(CommandOptions(script(tmp_path, "pass"), repo, check=check, junit="junit.xml")).evidence
    assert (evidence["check"]["passed"], evidence["check"]["failed"], evidence["check"]["names"]) == (1, 1, ["t.b"])
    assert evidence["files"] == {}


def test_the_environment_is_what_is_allowed_and_keys_reach_neither_texts_nor_the_check(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 10."""
    monkeypatch.setenv("AGENT_KEY", "sesame-open-7")
    monkeypatch.setenv("OTHER_KEY", "not-for-you")
    show = """
        import os
        print(sorted(name for name in os.environ if name not in ("LC_CTYPE", "__CF_USER_TEXT_ENCODING")))
        print(os.environ.get("AGENT_KEY"), os.environ["PYTHONHASHSEED"], os.environ["HOME"], os.getcwd())
        open("leak.txt", "w").write(str(os.environ.get("AGENT_KEY")))
        """
    options = CommandOptions(script(tmp_path, show), repo, check=script(tmp_path, show, "c.py"), env=("AGENT_KEY",))
    rollout = run(options)
    names, values = rollout.output.splitlines()
    every = ["HOME", "LANG", "PATH", "PROMPTLEARN_EXAMPLE", "PYTHONDONTWRITEBYTECODE", "PYTHONHASHSEED", "TMPDIR", "TZ"]
    assert names == str(sorted([*every, "AGENT_KEY", "PROMPTLEARN_PROMPT"]))
    assert values == "[redacted] 0 /tmp/home ."
    assert rollout.evidence["check"]["output"].splitlines() == [str(every), "None 0 /tmp/home ."]
    assert "sesame" not in json.dumps(rollout.evidence)
    assert "[redacted]" in rollout.evidence["diff"]


def test_a_variable_that_is_not_set_is_refused_before_the_run(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"program\.env names NO_SUCH_KEY, which is not set"):
        Command(CommandOptions(script(tmp_path, "pass"), repo, env=("NO_SUCH_KEY",)))


@pytest.mark.parametrize("words", [("no-such-program",), ("./missing.sh",), ("/no/such/program",)])
def test_a_program_that_is_not_there_is_refused_before_the_run(repo: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"program\.command: there is no program"):
        Command(CommandOptions(words, repo))
    with pytest.raises(ConfigError, match=r"program\.check: there is no program"):
        Command(CommandOptions((sys.executable,), repo, check=words))


def test_a_program_that_can_not_be_started_is_a_failure(repo: Path) -> None:
    (repo / "agent").write_text("no program at all\n")
    rollout = run(CommandOptions(("./agent",), repo))
    assert rollout.error is not None
    assert rollout.error.kind == "program"
    assert "can not be started" in rollout.error.message


def test_a_failure_that_the_command_tells_is_no_score(repo: Path, tmp_path: Path) -> None:
    line = '{"error": {"kind": "content_filter", "message": "the model refused"}}'
    rollout = run(CommandOptions(script(tmp_path, f"print('{line}')"), repo))
    assert rollout.error is not None
    assert (rollout.error.kind, rollout.error.message) == (
        "content_filter",
        "command/python3 -S agent.py: the model refused".replace("python3", Path(sys.executable).name),
    )


def test_a_line_that_breaks_the_protocol_is_a_failure_that_names_it(repo: Path, tmp_path: Path) -> None:
    rollout = run(CommandOptions(script(tmp_path, """print('{"usage": {"tokens": 3}}')"""), repo))
    assert rollout.error is not None
    assert "line 1 of its output: usage.tokens" in rollout.error.message


@pytest.mark.skipif(sys.platform != "linux", reason="limits that Linux keeps")
@pytest.mark.parametrize(
    ("bounds", "code", "ended"),
    [
        (Bounds(cpu_s=1), "while True: pass", "SIGXCPU"),
        (Bounds(file_mb=1), "open('big', 'wb').write(b'x' * (2 << 20))", "SIGXFSZ"),
        (Bounds(memory_mb=64), "b'x' * (256 << 20)", "exit 1"),
    ],
)
def test_limits_end_a_command(repo: Path, tmp_path: Path, bounds: Bounds, code: str, ended: str) -> None:
    unlimited = f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); {code}" if "big" in code else code
    rollout = run(CommandOptions(script(tmp_path, unlimited), repo, bounds=bounds))
    assert rollout.stop_reason == ended


@pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")
def test_without_network_there_is_a_loopback_and_nothing_else(repo: Path, tmp_path: Path) -> None:
    words = script(
        tmp_path,
        """
        import socket
        print([name for _, name in socket.if_nameindex()])
        server = socket.create_server(("127.0.0.1", 0))
        socket.create_connection(server.getsockname()).close()
        try:
            socket.create_connection(("192.0.2.1", 80), timeout=2)
        except OSError as error:
            print(type(error).__name__)
        """,
    )
    if not may_leave_the_network():
        with pytest.raises(ConfigError, match="network: false can not be kept here"):
            run(CommandOptions(words, repo, bounds=Bounds(network=False)))
        return
    assert run(CommandOptions(words, repo, bounds=Bounds(network=False))).output.splitlines() == ["['lo']", "OSError"]


def may_leave_the_network() -> bool:
    done = subprocess.run(["unshare", "-U", "-r", "-n", "true"], capture_output=True)
    return done.returncode == 0


def test_long_output_is_cut_in_the_middle_and_says_so(repo: Path, tmp_path: Path) -> None:
    rollout = run(CommandOptions(script(tmp_path, "print('a' * 50_000 + 'b' * 50_000)"), repo, output_bytes=1000))
    assert rollout.output.startswith("aaa")
    assert rollout.output.endswith("bbb")
    assert "[… 99,001 bytes left out …]" in rollout.output
    assert rollout.evidence["stdout_left_out"] == 99_001


def test_the_room_is_removed_also_where_the_command_locked_it(repo: Path, tmp_path: Path, temporary: Path) -> None:
    words = script(tmp_path, "import os; os.mkdir('locked'); open('locked/x', 'w').close(); os.chmod('locked', 0)")
    assert run(CommandOptions(words, repo)).error is None
    assert list(temporary.iterdir()) == []


def wait_for(path: Path) -> None:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)


def names(folder: Path, glob: str) -> set[str]:
    return {path.name for path in folder.glob(glob)}


async def test_a_rollout_that_is_cancelled_leaves_nothing(repo: Path, tmp_path: Path, temporary: Path) -> None:
    pid = tmp_path / "pid"
    words = script(tmp_path, f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    command = Command(CommandOptions(words, repo))
    task = asyncio.create_task(command.open(command.model).run(Prompt.of("Be brief."), example()))
    await asyncio.to_thread(wait_for, pid)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(int(pid.read_text()))
    assert names(temporary, "*/*") == {"base", "empty.git", "lock"}
    await command.model.close()
    assert names(temporary, "*") == set()


def test_what_a_killed_run_left_is_removed_by_the_next(repo: Path, tmp_path: Path, temporary: Path) -> None:
    left = temporary / f"{PREFIX}left"
    (left / "1/repo").mkdir(parents=True)
    (left / "lock").touch()
    assert run(CommandOptions(script(tmp_path, "print(1)"), repo)).output == "1"
    assert not left.exists()


def test_two_runs_of_the_same_are_the_same(repo: Path, tmp_path: Path) -> None:
    """Invariant 8: neither folders nor hashes differ from one copy to the next."""
    code = (
        "import os; print(os.getcwd(), hash('x')); open('new', 'w').write('1'); raise ValueError(os.environ['TMPDIR'])"
    )
    options = CommandOptions(script(tmp_path, code), repo)
    first, second = run(options), run(options)
    assert (first.output, first.evidence) == (second.output, second.evidence)
    assert first.output.startswith(". ")


def test_a_hostile_copy_runs_nothing_hangs_nothing_and_shows_nothing_of_others(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git configuration, links, pipes and swapped files of the copy are not believed (invariant 9)."""
    witness, secret = tmp_path / "witness", tmp_path / "secret.txt"
    secret.write_text("a stranger's words\n")
    words = script(
        tmp_path,
        f"""
        import os, shutil
        room = os.path.dirname(os.getcwd())
        os.mkdir(".git"); os.mkdir(".git/objects"); os.mkdir(".git/refs")
        open(".git/HEAD", "w").write("ref: refs/heads/main\\n")
        touch = '"touch {witness}"'
        open(".git/config", "w").write("[core]\\nfsmonitor = " + touch + "\\n[diff]\\nexternal = " + touch + "\\n")
        open(".gitattributes", "w").write("* diff=evil\\n")
        os.symlink({str(secret)!r}, "link.txt")
        os.mkfifo("pipe")
        os.remove("notes.txt"); os.mkfifo("notes.txt")
        shutil.rmtree("shop"); os.symlink({str(tmp_path)!r}, "shop")
        open("huge.txt", "w").write("x" * 2_000_000)
        for name in ("stdout", "stderr", "example.json"):
            os.remove(os.path.join(room, name)); os.symlink({str(secret)!r}, os.path.join(room, name))
        """,
    )
    check = script(tmp_path, "print('checked')", "check.py")
    rollout = run(CommandOptions(words, repo, check=check, timeout_s=30))
    assert rollout.error is None
    assert not witness.exists()
    assert secret.read_text() == "a stranger's words\n"
    shown = json.dumps(rollout.evidence)
    assert "stranger" not in shown.replace(str(secret), "")
    assert "2,000,000 bytes, too many to show" in shown
    assert rollout.evidence["check"]["output"] == "checked"
    files = rollout.evidence["files"]
    assert (files["link.txt"], files["notes.txt"], files["shop/prices.py"]) == ("added", "changed", "deleted")


def test_a_command_may_have_a_repository_of_its_own(repo: Path, tmp_path: Path) -> None:
    code = "import subprocess; subprocess.run(['git', 'log', '--format=%H %s'])"
    options = CommandOptions(script(tmp_path, code), repo, git=True)
    first, second = run(options), run(options)
    assert first.output == second.output
    assert first.output.endswith(" start")
    assert first.evidence["files"] == {}


def test_a_command_needs_no_repository(tmp_path: Path) -> None:
    rollout = run(CommandOptions(script(tmp_path, "import os; open('x', 'w').write('1'); print(os.listdir('.'))")))
    assert rollout.output == "['AGENTS.md', 'x']" or rollout.output == "['x', 'AGENTS.md']"
    assert rollout.evidence["files"] == {"x": "added"}


def test_a_working_folder_of_the_copy(repo: Path, tmp_path: Path) -> None:
    words = script(tmp_path, "import os; print(os.listdir('.'))")
    assert run(CommandOptions(words, repo, cwd="shop")).output == "['prices.py']"
    for cwd in ("..", "/tmp", "nowhere"):
        with pytest.raises(ConfigError, match=r"program\.cwd"):
            Command(CommandOptions(words, repo, cwd=cwd))


def test_what_makes_two_commands_the_same(repo: Path, tmp_path: Path) -> None:
    """Words, the content of files that they name, the tree, limits; not where anything lies, nor the prompt itself."""
    words = script(tmp_path, "print(1)")
    first = Command(CommandOptions(words, repo), read_prompt(repo / "AGENTS.md")).identity

    def identity(options: CommandOptions) -> str:
        return Command(options, read_prompt((options.repo or repo) / "AGENTS.md")).identity

    assert identity(CommandOptions(words, repo, timeout_s=5)) == first
    moved = tmp_path / "moved"
    moved.mkdir()
    assert identity(CommandOptions(script(moved, "print(1)"), write_repo(moved / "elsewhere"))) == first
    (repo / "AGENTS.md").write_text(RULES.replace("brief", "long"))
    (repo / "build/big.bin").write_text("ignored")
    assert identity(CommandOptions(words, repo)) == first
    assert identity(CommandOptions(words, repo, version="2")) != first
    assert identity(CommandOptions(words, repo, bounds=Bounds(cpu_s=3))) != first
    assert identity(CommandOptions(script(tmp_path, "print(2)"), repo)) != first
    (repo / "notes.txt").chmod(0o755)
    assert identity(CommandOptions(script(tmp_path, "print(1)"), repo)) != first


def test_a_repository_that_changes_before_the_first_rollout_stops_the_run(repo: Path, tmp_path: Path) -> None:
    with opened(CommandOptions(script(tmp_path, "print(1)"), repo)) as command:
        (repo / "notes.txt").write_text("other")
        with pytest.raises(ConfigError, match="has changed since this run was put together"):
            asyncio.run(command.open(command.model).run(Prompt.of("Be brief."), example()))


def test_the_copy_is_for_its_owner_alone(repo: Path, tmp_path: Path) -> None:
    words = script(
        tmp_path,
        "import os; open('x', 'w').close(); print(oct(os.stat('x').st_mode & 0o777))",
    )
    command = Command(CommandOptions(words, repo))
    rollout = asyncio.run(command.open(command.model).run(Prompt.of("Be brief."), example()))
    (area,) = (path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(PREFIX))
    assert stat.S_IMODE(area.stat().st_mode) == 0o700
    assert rollout.output == "0o600"
    asyncio.run(command.model.close())


def test_a_command_dies_with_the_run(repo: Path, tmp_path: Path, temporary: Path) -> None:
    """SIGKILL leaves no process behind on Linux; the next run removes the folders."""
    if sys.platform != "linux":
        pytest.skip("a death signal is Linux's")
    pid = tmp_path / "pid"
    words = script(tmp_path, f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    code = (
        "import asyncio, sys; from pathlib import Path; from promptlearn.programs.command import *; "
        "from promptlearn.records import *; "
        "command = Command(CommandOptions(tuple(sys.argv[2:]), Path(sys.argv[1]))); "
        "asyncio.run(command.open(command.model).run(Prompt.of('x'), Example('e', {})))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", code, str(repo), *words], env=environment) as process:
        while not pid.exists() or not pid.read_text():
            time.sleep(0.05)
        process.kill()
    assert is_gone(int(pid.read_text()))
    assert [path.name for path in temporary.iterdir()]
    assert run(CommandOptions(script(tmp_path, "print(1)", "other.py"), repo)).output == "1"
    assert list(temporary.iterdir()) == []
