"""Proposing to a repository over real HTTP: once, again, refused, and never more than a branch and a pull request."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from github_server import READ, WRITE, GitHubServer
from github_world import Pull, Repo, World
from learned_run import NEW, learned_run

from promptlearn.errors import ForgeError, PromptlearnError, UsageError
from promptlearn.forge.address import find_address
from promptlearn.forge.credentials import Credentials
from promptlearn.forge.managed import put_block
from promptlearn.forge.propose import Submission, branch_name, submit
from promptlearn.forge.winner import Winner, find_winner
from promptlearn.forge.wire import Patience, connect
from promptlearn.forge.writing import Writer
from promptlearn.store import Store, open_store

PATH = "prompts/support.md"
RULES = "".join(f"- {rule.text}\n" for rule in NEW.rules)
REPO = "shop/support"
LEARNED = f"Be helpful.\n\nRules:\n{RULES}".encode()
BETTER = replace(NEW, rules=NEW.rules[:1])

Propose = Callable[..., Submission]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    running = GitHubServer(World())
    running.world.repo(REPO).git.commit({PATH: b"Be helpful.\n", "README.md": b"# Shop\n"})
    with running.in_thread():
        yield running


@pytest.fixture
def repo(server: GitHubServer) -> Repo:
    return server.world.repo(REPO)


def the_pull(repo: Repo) -> Pull:
    (pull,) = repo.pulls.values()
    return pull


def writes(server: GitHubServer) -> list[str]:
    return [
        f"{seen.method} {seen.path.removeprefix(f'/repos/{REPO}')}" for seen in server.requests if seen.method != "GET"
    ]


@pytest.fixture
def winner(store: Store) -> Winner:
    return find_winner(store, asyncio.run(learned_run(store)))


@pytest.fixture
def better(store: Store) -> Winner:
    """Of a later run that began with the same prompt."""
    return find_winner(store, asyncio.run(learned_run(store, new=BETTER)))


@pytest.fixture
def propose(server: GitHubServer) -> Propose:
    async def at_once(seconds: float) -> None:
        return None

    def run(winner: Winner, *paths: str, base: str | None = None, token: str = WRITE, **more: Any) -> Submission:
        async def work() -> Submission:
            credentials = Credentials("a test", token=token)
            patience = Patience(sleep=at_once)
            async with connect(find_address(server.url, {}), credentials, REPO, writes=True, patience=patience) as wire:
                return await submit(Writer(wire, REPO), winner, paths or [PATH], base, **more)

        return asyncio.run(work())

    return run


def test_a_draft_pull_request_is_opened(server: GitHubServer, repo: Repo, winner: Winner, propose: Propose) -> None:
    branch = branch_name(winner, [PATH])
    done = propose(winner)
    pull = the_pull(repo)
    assert done == Submission("opened", branch, "main", pull.number, pull.url)
    assert (repo.git.file(PATH, branch), repo.git.file(PATH, "main")) == (LEARNED, b"Be helpful.\n")
    assert (pull.draft, pull.head_ref, pull.base_ref, pull.head) == (True, branch, "main", repo.git.branches[branch])
    assert "Never promise a refund." in pull.body
    assert repo.git.log(branch)[0].message.startswith(pull.title)
    assert writes(server) == ["POST /git/refs", f"PUT /contents/{PATH}", "POST /pulls"]


def test_a_second_time_changes_nothing(server: GitHubServer, repo: Repo, winner: Winner, propose: Propose) -> None:
    first = propose(winner)
    the_pull(repo).body = the_pull(repo).body.replace("\n", "\r\n").rstrip()  # as GitHub gives it back
    assert propose(winner) == replace(first, action="unchanged")
    assert len(writes(server)) == 3


def test_what_was_interrupted_goes_on(server: GitHubServer, repo: Repo, winner: Winner, propose: Propose) -> None:
    for method, where in (("POST", "/git/refs"), ("PUT", "/contents/"), ("POST", "/pulls")):
        server.fail(where, method=method, status=500)
        with pytest.raises(ForgeError, match="answered 500: Server Error"):
            propose(winner)
    assert propose(winner).action == "opened"
    assert len(repo.git.log(branch_name(winner, [PATH]))) == 2


def test_a_better_run_updates_the_pull_request(repo: Repo, winner: Winner, better: Winner, propose: Propose) -> None:
    first = propose(winner)
    assert propose(better) == replace(first, action="updated")
    assert repo.git.file(PATH, first.branch) == b"Be helpful.\n\nRules:\n- Never promise a refund.\n"
    assert "closes" not in the_pull(repo).body
    assert f"`{BETTER.digest}`" in the_pull(repo).body


def test_a_base_that_changed_since_the_run_is_refused(
    server: GitHubServer, repo: Repo, winner: Winner, propose: Propose
) -> None:
    repo.git.commit({PATH: b"Be helpful, and brief.\n"})
    with pytest.raises(UsageError, match=r"prompts/support\.md on main is not what run"):
        propose(winner)
    repo.git.commit({PATH: None})
    with pytest.raises(UsageError, match=r"there is no prompts/support\.md on main"):
        propose(winner)
    assert writes(server) == []


def test_a_base_that_changed_elsewhere_is_fine(repo: Repo, winner: Winner, propose: Propose) -> None:
    repo.git.commit({"README.md": b"# Our shop\n"})
    assert propose(winner).action == "opened"


def test_after_the_merge_there_is_nothing_to_propose(
    server: GitHubServer, repo: Repo, winner: Winner, propose: Propose
) -> None:
    propose(winner)
    repo.git.commit({PATH: LEARNED})
    the_pull(repo).state = "MERGED"
    done = propose(winner)
    assert (done.action, done.url) == ("nothing", None)
    assert len(writes(server)) == 3


def test_somebody_s_work_on_the_branch_is_not_written_over(
    server: GitHubServer, repo: Repo, winner: Winner, better: Winner, propose: Propose
) -> None:
    first = propose(winner)
    repo.git.commit({PATH: LEARNED + b"- And thank them.\n"}, "Review: thanks", first.branch)
    for one in (winner, better):
        with pytest.raises(UsageError, match=rf"somebody has changed {PATH} on the branch {first.branch}"):
            propose(one)
    for forged in (b"Forged.\n", None):
        repo.git.commit({PATH: forged}, "x\n\nPromptlearn-Content: 0123456789abcdef\n", first.branch)
        with pytest.raises(UsageError, match="somebody has changed"):
            propose(winner)
    assert len(writes(server)) == 3


def test_a_merge_of_the_base_into_the_branch_is_nobody_s_work(
    repo: Repo, winner: Winner, better: Winner, propose: Propose
) -> None:
    first = propose(winner)
    repo.git.commit({"README.md": b"# Our shop\n"}, "Merge branch 'main'", first.branch)
    assert propose(better).action == "updated"
    assert repo.git.file("README.md", first.branch) == b"# Our shop\n"


def test_what_was_closed_is_not_opened_again_unasked(
    repo: Repo, winner: Winner, better: Winner, propose: Propose
) -> None:
    first = propose(winner)
    repo.pulls[1].state = "CLOSED"
    with pytest.raises(UsageError, match=r"pull request 1 proposed this prompt and was closed .*; reopen it there"):
        propose(winner)
    del repo.git.branches[first.branch]
    with pytest.raises(UsageError, match="or give --again"):
        propose(winner)
    assert propose(winner, again=True).number == 2
    repo.pulls[2].state = "CLOSED"
    assert propose(better).number == 3, "another prompt is another proposal"


def test_a_renamed_repository_keeps_its_pull_request(
    server: GitHubServer, repo: Repo, winner: Winner, propose: Propose
) -> None:
    propose(winner)
    server.world.rename(repo, "store/support")
    assert propose(winner).action == "unchanged"


def test_another_base_and_ready_for_review(repo: Repo, winner: Winner, propose: Propose) -> None:
    repo.git.branches["next"] = repo.git.branches["main"]
    assert propose(winner, base="next", draft=False).base == "next"
    assert (the_pull(repo).draft, the_pull(repo).base_ref) == (False, "next")
    with pytest.raises(UsageError, match="has no branch nowhere; name one with --base"):
        propose(winner, base="nowhere")


def test_several_files_are_one_pull_request(repo: Repo, winner: Winner, propose: Propose) -> None:
    rule, cursor = b"---\nglobs: '*'\n---\nOurs.\n", ".cursor/rules/a b.mdc"
    repo.git.commit({cursor: rule})
    done = propose(winner, PATH, cursor, "AGENTS.md")
    text = LEARNED.decode().rstrip("\n")
    assert repo.git.file(cursor, done.branch) == put_block(rule, text, "a.mdc")
    assert repo.git.file("AGENTS.md", done.branch) == put_block(None, text, "AGENTS.md")
    assert len(repo.pulls) == 1
    assert propose(winner, PATH, cursor, "AGENTS.md").action == "unchanged"


@pytest.mark.parametrize(
    ("method", "where", "status", "said", "error", "match"),
    [
        ("POST", "/pulls", 403, "not permitted to create", UsageError, "lets workflows create pull requests"),
        ("POST", "/pulls", 422, "Draft pull requests are not supported", UsageError, "give --ready"),
        ("PUT", "/contents/", 409, "does not match", ForgeError, "answered 409: .*does not match"),
        ("GET", f"{REPO}$", 404, "Not Found", UsageError, "there is no repository shop/support"),
    ],
)
def test_what_github_refuses_is_explained(
    server: GitHubServer,
    winner: Winner,
    propose: Propose,
    method: str,
    where: str,
    status: int,
    said: str,
    error: type[PromptlearnError],
    match: str,
) -> None:
    server.fail(where, method=method, status=status, message=said)
    with pytest.raises(error, match=match):
        propose(winner)


def test_limits_are_waited_for(server: GitHubServer, winner: Winner, propose: Propose) -> None:
    words = "You have exceeded a secondary rate limit"
    server.fail("/contents/", method="PUT", status=403, headers={"Retry-After": "30"}, message=words)
    server.fail("/pulls", method="GET", status=502)
    assert propose(winner).action == "opened"


def test_a_token_that_only_reads_is_refused_by_name(server: GitHubServer, winner: Winner, propose: Propose) -> None:
    with pytest.raises(UsageError, match="the token in PROMPTLEARN_WRITE_TOKEN needs `contents` and `pull requests`"):
        propose(winner, token=READ)


def test_the_token_stands_in_no_message(server: GitHubServer, winner: Winner, propose: Propose) -> None:
    """Invariant 10."""
    with pytest.raises(ForgeError, match="answered 401") as raised:
        propose(winner, token="github_pat_wrong")
    assert "github_pat_wrong" not in str(raised.value)


def test_a_session_for_reading_can_not_write(server: GitHubServer, repo: Repo, winner: Winner) -> None:
    """Invariant 9: whatever reads comments has no way to write, whatever its token may do."""

    async def work() -> None:
        async with connect(find_address(server.url, {}), Credentials("a test", token=WRITE), REPO) as wire:
            await submit(Writer(wire, REPO), winner, [PATH])

    with pytest.raises(UsageError, match="this session only reads"):
        asyncio.run(work())
    assert (writes(server), repo.pulls) == ([], {})
