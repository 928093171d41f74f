"""What we show GitHub: which of several credentials counts, and that none of them shows."""

from pathlib import Path

import pytest

from promptlearn.errors import UsageError
from promptlearn.forge.address import Address, find_address
from promptlearn.forge.credentials import find_credentials

PUBLIC = find_address(None, {})
OWN = find_address("https://ghe.acme.com", {})
APP = {"GITHUB_APP_ID": "12", "GITHUB_APP_PRIVATE_KEY": "-----BEGIN\\nabc", "GITHUB_APP_INSTALLATION_ID": "34"}


def gh(folder: Path, answer: str, code: int = 0) -> dict[str, str]:
    """A `gh` that answers so, and the environment in which it is found."""
    script = folder / "gh"
    script.write_text(
        f'#!/bin/sh\n[ "$*" = "auth token --hostname github.com" ] || exit 9\necho "{answer}"\nexit {code}\n'
    )
    script.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def source(address: Address, environ: dict[str, str]) -> str:
    return find_credentials(address, environ).source


def test_the_order_is_token_app_gh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged_in = gh(tmp_path, "gho_fromtheclient0000")
    monkeypatch.setenv("PATH", logged_in["PATH"])
    assert source(PUBLIC, {"GITHUB_TOKEN": "ghp_a", "GH_TOKEN": "ghp_b", **APP, **logged_in}) == "GITHUB_TOKEN"
    assert source(PUBLIC, {"GITHUB_TOKEN": " ", "GH_TOKEN": "github_pat_b", **APP, **logged_in}) == "GH_TOKEN"
    assert source(PUBLIC, {**APP, **logged_in}) == "GitHub App 12"
    assert source(PUBLIC, logged_in) == "`gh auth token`"
    assert find_credentials(PUBLIC, logged_in).token == "gho_fromtheclient0000"


def test_an_enterprise_s_own_token_goes_first_there_and_nowhere_else() -> None:
    environ = {"GITHUB_TOKEN": "ghp_a", "GH_ENTERPRISE_TOKEN": "ghp_e"}
    assert find_credentials(OWN, environ).token == "ghp_e"
    assert find_credentials(PUBLIC, environ).token == "ghp_a"


def test_a_named_variable_is_the_only_one_that_counts() -> None:
    environ = {"GITHUB_TOKEN": "ghp_a", "READER": "ghp_r"}
    assert find_credentials(PUBLIC, environ, "READER").token == "ghp_r"
    with pytest.raises(UsageError, match="the environment variable OTHER is not set"):
        find_credentials(PUBLIC, environ, "OTHER")


def test_an_app_s_key_may_stand_in_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("-----BEGIN\nxyz")
    found = find_credentials(PUBLIC, {"GITHUB_APP_ID": "12", "GITHUB_APP_PRIVATE_KEY_FILE": str(key)})
    assert (found.private_key, found.installation) == ("-----BEGIN\nxyz", None)
    assert find_credentials(PUBLIC, APP).private_key == "-----BEGIN\nabc"
    assert find_credentials(PUBLIC, APP).installation == 34


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"GITHUB_APP_ID": "12"}, "needs GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY"),
        ({"GITHUB_APP_ID": "12", "GITHUB_APP_PRIVATE_KEY_FILE": "/no/such/key"}, "can not be read"),
        ({**APP, "GITHUB_APP_INSTALLATION_ID": "x"}, "GITHUB_APP_INSTALLATION_ID is no number"),
        ({"GITHUB_TOKEN": "two words"}, "what stands in GITHUB_TOKEN is no GitHub token"),
        ({"GITHUB_TOKEN": "ghp_ünïcode"}, "what stands in GITHUB_TOKEN is no GitHub token"),
    ],
)
def test_what_is_missing_is_said_in_one_line(environ: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        find_credentials(PUBLIC, environ)
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize("code", [0, 1])
def test_nobody_who_is_logged_in_nowhere_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    environ = gh(tmp_path, "", code)
    monkeypatch.setenv("PATH", environ["PATH"])
    with pytest.raises(UsageError, match=r"no credentials for github\.com: set GITHUB_TOKEN .* `gh auth login`"):
        find_credentials(PUBLIC, environ)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing here"))
    with pytest.raises(UsageError, match=r"no credentials for ghe\.acme\.com"):
        find_credentials(OWN, {"PATH": str(tmp_path / "nothing here")})


def test_credentials_show_nowhere() -> None:
    """Invariant 10."""
    token = find_credentials(PUBLIC, {"GITHUB_TOKEN": "ghp_secret"})
    app = find_credentials(PUBLIC, APP)
    shown = f"{token!r} {app!r} {token.identity} {app.identity}"
    assert "secret" not in shown
    assert "abc" not in shown
    assert token.identity != find_credentials(PUBLIC, {"GITHUB_TOKEN": "ghp_other"}).identity
    assert token.secrets == ("ghp_secret",)
