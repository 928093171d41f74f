"""Where a GitHub is."""

import pytest

from promptlearn.errors import UsageError
from promptlearn.forge.address import find_address


@pytest.mark.parametrize(
    ("given", "api", "graphql", "host"),
    [
        (None, "https://api.github.com", "https://api.github.com/graphql", "github.com"),
        ("https://github.com/", "https://api.github.com", "https://api.github.com/graphql", "github.com"),
        ("ghe.acme.com", "https://ghe.acme.com/api/v3", "https://ghe.acme.com/api/graphql", "ghe.acme.com"),
        (
            "https://ghe.acme.com:8443/api/v3/",
            "https://ghe.acme.com:8443/api/v3",
            "https://ghe.acme.com:8443/api/graphql",
            "ghe.acme.com:8443",
        ),
        ("https://acme.ghe.com", "https://api.acme.ghe.com", "https://api.acme.ghe.com/graphql", "acme.ghe.com"),
        ("https://api.acme.ghe.com", "https://api.acme.ghe.com", "https://api.acme.ghe.com/graphql", "acme.ghe.com"),
        ("http://127.0.0.1:80", "http://127.0.0.1:80/api/v3", "http://127.0.0.1:80/api/graphql", "127.0.0.1:80"),
    ],
)
def test_every_kind_of_github_has_its_addresses(given: str | None, api: str, graphql: str, host: str) -> None:
    found = find_address(given, {})
    assert (found.api, found.graphql, found.host) == (api, graphql, host)


def test_actions_say_where_they_run_and_an_option_wins() -> None:
    environ = {"GITHUB_API_URL": "https://ghe.acme.com/api/v3"}
    assert find_address(None, environ).host == "ghe.acme.com"
    assert find_address("https://github.com", environ).host == "github.com"


@pytest.mark.parametrize(
    "given", ["ftp://x", "https://", "https://?x", "https://user:secret@ghe.acme.com", "https://ghe.acme.com?x=1"]
)
def test_what_is_no_address_is_one_clear_line_without_a_password(given: str) -> None:
    with pytest.raises(UsageError, match="is no address of a GitHub; write one such as") as caught:
        find_address(given, {})
    assert "secret" not in str(caught.value)


def test_a_token_is_never_sent_in_the_clear_to_another_machine() -> None:
    """Invariant 10."""
    with pytest.raises(UsageError, match=r"http://ghe\.acme\.com would send the token in the clear"):
        find_address("http://ghe.acme.com", {})


def test_a_port_that_is_none_is_refused_too() -> None:
    with pytest.raises(UsageError, match="is no URL"):
        find_address("https://ghe.acme.com:many", {})
