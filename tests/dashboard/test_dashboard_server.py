"""The server as a process: where it listens, whom it answers, and that it stops."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promptlearn.cli.main import execute
from promptlearn.dashboard.server import Settings, check_settings
from promptlearn.errors import UsageError

ROOT = Path(__file__).parents[2]


@contextmanager
def dashboard(folder: Path, *options: str, **environment: str) -> Iterator[str]:
    """A dashboard of its own; gives its address."""
    command = [sys.executable, "-m", "promptlearn", "dashboard", "--port", "0", "--no-browser", *options]
    known = {name: value for name, value in os.environ.items() if not name.startswith("PROMPTLEARN_")}
    known["PYTHONPATH"] = str(ROOT)
    process = subprocess.Popen(
        command, cwd=folder, env={**known, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://"), process.stderr and process.stderr.read()
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data=body, headers=named)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return int(reply.status), reply.read().decode()
    except urllib.error.HTTPError as error:
        return int(error.code), error.read().decode()


@pytest.mark.slow
def test_it_listens_here_answers_this_machine_and_takes_signed_webhooks(tmp_path: Path) -> None:
    secret = "a-secret-of-webhooks"
    with dashboard(tmp_path, PROMPTLEARN_WEBHOOK_SECRET=secret) as url:
        assert url.startswith("http://127.0.0.1:")
        assert ask(f"{url}/_stcore/health")[0] == 200
        assert ask(f"{url}/_stcore/health", Host="evil.example")[0] == 403
        assert ask(f"{url}/_stcore/health", Origin="https://evil.example")[0] == 403
        for path in ("/media/../../../../etc/passwd", "/media/%2e%2e/%2e%2e/etc/passwd", "/static/..%2f..%2fmain.py"):
            assert "root:" not in ask(url + path)[1]
        raw = json.dumps({"zen": "Keep it simple."}).encode()
        signed = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
        told = {"X_GitHub_Event": "ping", "X_GitHub_Delivery": "1", "Content_Type": "application/json"}
        assert ask(f"{url}/github", raw, **told)[0] == 401
        assert ask(f"{url}/github", raw, X_Hub_Signature_256=signed, **told) == (200, "pong\n")


@pytest.mark.slow
def test_with_a_password_it_answers_who_knows_it(tmp_path: Path) -> None:
    with dashboard(tmp_path, PROMPTLEARN_DASHBOARD_PASSWORD="correct horse") as url:
        assert ask(url)[0] == 401
        time.sleep(0.1)
        assert ask(url, Authorization="Basic YW55Ym9keTpjb3JyZWN0IGhvcnNl")[0] == 200


@pytest.mark.parametrize(
    "settings",
    [
        Settings(store="s.db", host="0.0.0.0"),
        Settings(store="s.db", allowed_hosts=("dash.example.com",)),
        Settings(store="s.db", host="0.0.0.0", password="short"),
    ],
)
def test_a_server_that_would_believe_anybody_is_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="PROMPTLEARN_DASHBOARD_PASSWORD"):
        check_settings(settings)


def test_another_address_goes_with_a_password_or_a_proxy() -> None:
    check_settings(Settings(store="s.db", host="0.0.0.0", password="correct horse"))
    check_settings(Settings(store="s.db", allowed_hosts=("dash.example.com",), proxy_header="X-User"))


def test_without_the_extra_it_says_in_one_line_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("promptlearn.dashboard.server.find_spec", lambda name: None)
    assert execute(["dashboard"]) == 2
    said = capsys.readouterr().err
    assert "promptlearn-optimizer[dashboard]" in said
    assert len(said.strip().splitlines()) == 1


def test_a_proxy_s_header_is_not_believed_from_everywhere() -> None:
    with pytest.raises(UsageError, match="past your proxy"):
        check_settings(Settings(store="s.db", host="0.0.0.0", proxy_header="X-User"))
    check_settings(Settings(store="s.db", host="0.0.0.0", proxy_header="X-User", password="long enough to hold"))
