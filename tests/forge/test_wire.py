"""One session with GitHub: conditions, limits, failures, Apps, and what a session for reading refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from github_server import READ, WRITE, GitHubServer, Limit, World
from pulling import Waits, credentials

from promptlearn.errors import ForgeError, UsageError
from promptlearn.forge.address import Address, find_address
from promptlearn.forge.credentials import Credentials
from promptlearn.forge.wire import Wire, connect

PULLS = "/repos/acme/shop/pulls"
ASK = 'query { rateLimit { cost } repository(owner: "acme", name: "shop") { nameWithOwner } }'


@pytest.fixture
async def server() -> AsyncIterator[GitHubServer]:
    world = World()
    shop = world.repo("acme/shop")
    ann = world.user("ann", may="write", on=shop)
    for _ in range(3):
        shop.pull(by=ann)
    async with GitHubServer(world) as started:
        yield started


@pytest.fixture
def waits(server: GitHubServer) -> Waits:
    return Waits(server)


@pytest.fixture
async def wire(server: GitHubServer, waits: Waits) -> AsyncIterator[Wire]:
    async with connect(
        find_address(server.url, {}), credentials(server), "acme/shop", patience=waits.patience()
    ) as made:
        yield made


async def test_what_we_have_is_not_sent_again(server: GitHubServer, wire: Wire) -> None:
    first = await wire.get(PULLS)
    again = await wire.get(PULLS, etag=first.etag)
    assert (first.status, len(first.body), again.status, again.body) == (200, 3, 304, None)
    assert (wire.traffic.requests, wire.traffic.conditional, wire.traffic.unchanged) == (2, 1, 1)
    server.world.repos["acme/shop"].pulls[1].title = "Other"
    assert (await wire.get(PULLS, etag=first.etag)).status == 200


async def test_pages_are_linked(wire: Wire) -> None:
    page = await wire.get(PULLS, {"per_page": 2})
    last = await wire.get(page.next)
    assert ([len(page.body), len(last.body)], last.next) == ([2, 1], "")


async def test_a_renamed_repository_is_followed(server: GitHubServer, wire: Wire) -> None:
    server.world.rename(server.world.repos["acme/shop"], "acme/store")
    assert len((await wire.get(PULLS)).body) == 3


async def test_a_session_for_reading_changes_nothing(server: GitHubServer) -> None:
    """Invariant 9: step by step, the part that reads comments can not write, whatever its token may do."""
    async with connect(find_address(server.url, {}), credentials(server, WRITE)) as wire:
        with pytest.raises(UsageError, match="this session only reads"):
            await wire.send("POST", PULLS, {})
        with pytest.raises(UsageError, match="mutations are not sent"):
            await wire.query("mutation { addComment(input: {}) { subject { id } } }")
    assert server.requests == []


async def test_a_session_for_writing_pauses_between_writes_and_repeats_none(server: GitHubServer, waits: Waits) -> None:
    server.world.repos["acme/shop"].git.commit({"a": b"1"})
    tip = server.world.repos["acme/shop"].git.branches["main"]
    address = find_address(server.url, {})
    async with connect(address, credentials(server, WRITE), writes=True, patience=waits.patience()) as wire:
        made = await wire.send("POST", "/repos/acme/shop/git/refs", {"ref": "refs/heads/one", "sha": tip})
        await wire.send("POST", "/repos/acme/shop/git/refs", {"ref": "refs/heads/two", "sha": tip})
        assert made.status == 201
        assert 0.5 < waits.seconds[0] <= 1
        server.fail(status=502, times=9)
        with pytest.raises(ForgeError, match="answered 502"):
            await wire.send("POST", "/repos/acme/shop/git/refs", {"ref": "refs/heads/three", "sha": tip})
        server.faults[0].times = 0
        server.fail(cut=True, times=9)
        with pytest.raises(ForgeError, match="can not be reached"):
            await wire.send("POST", "/repos/acme/shop/git/refs", {"ref": "refs/heads/three", "sha": tip})
    assert server.count("git/refs") == 4


async def test_a_burst_s_limit_is_waited_for(server: GitHubServer, wire: Wire, waits: Waits) -> None:
    server.fail(status=403, headers={"Retry-After": "17"}, message="You have exceeded a secondary rate limit")
    server.fail(status=429, message="")
    server.fail(status=403, message="You have exceeded a secondary rate limit")
    assert (await wire.get(PULLS)).status == 200
    assert waits.seconds == [17, 120, 240]
    assert wire.traffic.waited == 377
    assert waits.told[0] == f"waiting 17 s for {wire.address.host}: a secondary limit"


async def test_the_hour_s_limit_is_waited_for_before_it_is_broken(
    server: GitHubServer, wire: Wire, waits: Waits
) -> None:
    server.limits["core"] = Limit(left=2, resets_in=300)
    for _ in range(3):
        await wire.get(PULLS)
    assert waits.seconds == pytest.approx([301], abs=1)
    assert server.count(status=403) == 0


async def test_graphql_s_points_are_counted_too(server: GitHubServer, wire: Wire, waits: Waits) -> None:
    server.limits["graphql"] = Limit(left=1, resets_in=300)
    for _ in range(2):
        await wire.query(ASK)
    assert waits.seconds == pytest.approx([301], abs=1)
    assert server.count("graphql") == 2
    server.limits["graphql"] = Limit(left=0, resets_in=100)  # somebody else spent them
    await wire.query(ASK)
    assert waits.seconds == pytest.approx([301, 101], abs=1)


async def test_waiting_has_a_ceiling_and_says_what_to_do(server: GitHubServer) -> None:
    waits = Waits(server)
    server.limits["core"] = Limit(left=0, resets_in=2460)
    async with connect(find_address(server.url, {}), credentials(server), patience=waits.patience(900)) as wire:
        with pytest.raises(ForgeError) as caught:
            await wire.get(PULLS)
    assert caught.value.kind == "rate_limit"
    assert "lasts until 2026-06-01T12:41:01Z (41 min), longer than we may wait (15 min)" in str(caught.value)
    assert "goes on where it stopped" in str(caught.value)
    assert waits.seconds == []


async def test_short_pauses_add_up_to_the_ceiling(server: GitHubServer) -> None:
    waits = Waits(server)
    server.fail(status=403, headers={"Retry-After": "40"}, times=99)
    async with connect(find_address(server.url, {}), credentials(server), patience=waits.patience(100)) as wire:
        with pytest.raises(ForgeError, match="a secondary limit"):
            await wire.get(PULLS)
    assert waits.seconds == [40, 40]


@pytest.mark.parametrize("cut", [False, True])
async def test_a_failing_server_is_asked_again(server: GitHubServer, wire: Wire, waits: Waits, cut: bool) -> None:
    server.fail(status=502, times=3, cut=cut)
    assert (await wire.get(PULLS)).status == 200
    assert waits.seconds == [1, 2, 4]


async def test_a_server_that_stays_broken_is_given_up(server: GitHubServer, wire: Wire) -> None:
    server.fail(status=503, times=99)
    with pytest.raises(ForgeError, match=r"answered 503: Server Error; try again later"):
        await wire.get(PULLS)
    with pytest.raises(ForgeError, match="ask for less at once") as caught:
        await wire.query(ASK, attempts=2)
    assert caught.value.kind == "overload"


@pytest.mark.parametrize(
    ("path", "fault", "kind", "message"),
    [
        ("/repos/acme/none", None, "not_found", "answered 404: Not Found; check the name"),
        (PULLS, (401, "Bad credentials"), "auth", "the token is wrong or has expired: Bad credentials"),
        (PULLS, (403, "Resource not accessible"), "forbidden", "give the token the permission that this needs"),
        (PULLS, (500, "boom ghp_0123456789abcdef"), "server", r"answered 500: boom \[redacted\]"),
    ],
)
async def test_refusals_are_one_clear_line(
    server: GitHubServer, wire: Wire, path: str, fault: tuple[int, str] | None, kind: str, message: str
) -> None:
    """Invariant 10: whatever the server says, no key is in it."""
    if fault:
        server.fail(status=fault[0], message=fault[1], times=99)
    with pytest.raises(ForgeError, match=message) as caught:
        await wire.get(path)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)


async def test_a_wrong_token_is_named_and_not_shown(server: GitHubServer) -> None:
    """Invariant 10."""
    wrong = Credentials("GITHUB_TOKEN", token="github_pat_wrong00000000000")
    async with connect(find_address(server.url, {}), wrong) as wire:
        with pytest.raises(ForgeError, match="the token is wrong or has expired") as caught:
            await wire.get(PULLS)
    assert "wrong00000" not in str(caught.value)


async def test_a_server_that_is_none_of_github_s(server: GitHubServer, unused_tcp_port: int) -> None:
    nowhere = Address(f"http://127.0.0.1:{unused_tcp_port}/api/v3", "nowhere")
    waits = Waits(server)
    async with connect(nowhere, credentials(server), patience=waits.patience()) as wire:
        with pytest.raises(ForgeError, match="can not be reached") as caught:
            await wire.query(ASK, attempts=2)
    assert caught.value.kind == "connection"
    assert len(waits.seconds) == 4


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """A private key and its public one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem.decode(), public.decode()


@pytest.mark.parametrize("installation", [77, None])
async def test_an_app_reads_with_a_token_that_can_not_write(
    server: GitHubServer, key: tuple[str, str], installation: int | None
) -> None:
    """Invariant 9."""
    server.apps["12"] = key[1]
    app = Credentials("GitHub App 12", app="12", private_key=key[0], installation=installation)
    async with connect(find_address(server.url, {}), app, "acme/shop") as wire:
        assert len((await wire.get(PULLS)).body) == 3
        assert (await wire.query(ASK)).data["repository"]["nameWithOwner"] == "acme/shop"
    (asked,) = [seen.body for seen in server.requests if "access_tokens" in seen.path]
    assert asked["repositories"] == ["shop"]
    assert set(asked["permissions"].values()) == {"read"}


async def test_an_app_that_is_not_known_there(server: GitHubServer, key: tuple[str, str]) -> None:
    app = Credentials("GitHub App 13", app="13", private_key=key[0], installation=78)
    async with connect(find_address(server.url, {}), app, "acme/shop") as wire:
        with pytest.raises(ForgeError, match="gives the GitHub App no token") as caught:
            await wire.get(PULLS)
    assert caught.value.kind == "auth"
    assert "BEGIN" not in str(caught.value)


async def test_a_key_that_is_none(server: GitHubServer) -> None:
    app = Credentials("GitHub App 14", app="14", private_key="nonsense", installation=79)
    with pytest.raises(UsageError, match="the key of GitHub App 14 is no RSA key"):
        async with connect(find_address(server.url, {}), app, "acme/shop"):
            pass


async def test_a_session_holds_in_every_task(server: GitHubServer, wire: Wire) -> None:
    answers = await asyncio.gather(*(asyncio.create_task(wire.get(PULLS)) for _ in range(3)))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert READ in server.requests[0].headers["Authorization"]


def test_nothing_of_githubkit_is_imported_before_it_is_needed() -> None:
    import subprocess
    import sys

    code = "import sys, promptlearn.forge.pull, promptlearn.forge.github, promptlearn.cli.main\n"
    code += "sys.exit(any(name.split('.')[0] in ('githubkit', 'httpx', 'sqlalchemy') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
