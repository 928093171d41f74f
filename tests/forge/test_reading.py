"""What GitHub says about a pull request arrives whole, however it is cut into pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from github_graphql import Executor, Refused
from github_server import READ, GitHubServer, Repo, User, World
from pulling import Waits, credentials

from promptlearn.comments import Annotation, Author, Check, Comment, PullRequest, Suggestion
from promptlearn.errors import ForgeError, UsageError
from promptlearn.forge.address import find_address
from promptlearn.forge.base import Batch, Scope
from promptlearn.forge.github import GitHub, check_name, open_github
from promptlearn.forge.queries import PAGE_QUERY, PULLS, RESTS, Rest, numbers_query, rest_query

SCOPE = Scope("acme/shop", files=True)
HUNK = "@@ -1,2 +1,4 @@\n # Support\n+Be nice.\n+Be quick.\n"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def shop(world: World) -> Repo:
    return world.repo("acme/shop")


@pytest.fixture
def ann(world: World, shop: Repo) -> User:
    return world.user("ann", may="write", on=shop)


@pytest.fixture
async def server(world: World) -> AsyncIterator[GitHubServer]:
    async with GitHubServer(world) as started:
        yield started


@pytest.fixture
async def github(server: GitHubServer) -> AsyncIterator[GitHub]:
    patience = Waits(server).patience()
    async with open_github(find_address(server.url, {}), credentials(server), "acme/shop", patience) as opened:
        yield opened


async def gathered(batches: AsyncIterator[Batch]) -> list[Batch]:
    return [batch async for batch in batches]


def comments(batches: Sequence[Batch]) -> list[Comment]:
    return [comment for batch in batches for comment in batch.comments]


def pulls(batches: Sequence[Batch]) -> dict[int, PullRequest]:
    """As they were last said to be."""
    return {pull.number: pull for batch in batches for pull in batch.pulls}


def notices(batches: Sequence[Batch]) -> list[str]:
    return [notice for batch in batches for notice in batch.notices]


async def test_an_inline_comment_keeps_everything(shop: Repo, ann: User, github: GitHub) -> None:
    pull = shop.pull(by=ann, files=["prompts/support.md"], labels=["prompt"], fork=True)
    said = pull.comment("Kinder.\n```suggestion\nBe kind.\n```", by=ann, line=3, start=2, hunk=HUNK)
    said.reactions = {"THUMBS_UP": 2}
    said.thread.resolved_by = ann
    looked_at = pull.head
    pull.force_push()
    (comment,) = comments(await gathered(github.everything(SCOPE)))
    assert comment.kind == "inline"
    assert (comment.id, comment.url, comment.pull, comment.repo) == (said.id, said.url, 1, "acme/shop")
    assert (comment.path, comment.side, comment.hunk) == ("prompts/support.md", "RIGHT", HUNK)
    assert (comment.line, comment.original_line, comment.original_start_line) == (None, 3, 2)
    assert (comment.commit, comment.original_commit) == (pull.head, looked_at)
    assert comment.suggestions == (Suggestion("Be kind.\n", "Be nice.\nBe quick.\n"),)
    assert comment.thread is not None
    assert (comment.thread.resolved, comment.thread.outdated, comment.thread.resolved_by) == (True, True, "ann")
    assert (comment.author, comment.association) == (Author("ann", ann.id), "COLLABORATOR")
    assert (comment.reactions, comment.fork, comment.verdict) == ({"THUMBS_UP": 2}, True, "COMMENTED")


async def test_every_kind_of_comment_arrives(shop: Repo, ann: User, github: GitHub) -> None:
    pull = shop.pull(by=ann)
    first = pull.comment("On a line", by=ann, line=3)
    pull.comment("In answer", by=ann, reply_to=first)
    pull.comment("On the file", by=ann, line=None)
    pull.review("Please change", by=ann, state="CHANGES_REQUESTED")
    pull.review("", by=ann, state="APPROVED")
    pull.say("In the conversation", by=ann).minimize("OUTDATED")
    first.thread.comments[1].state = "PENDING"
    found = {comment.body: comment for comment in comments(await gathered(github.everything(SCOPE)))}
    kinds = {body: (comment.kind, comment.verdict) for body, comment in found.items()}
    assert kinds == {
        "On a line": ("inline", "COMMENTED"),
        "On the file": ("inline", "COMMENTED"),
        "Please change": ("review", "CHANGES_REQUESTED"),
        "": ("review", "APPROVED"),
        "In the conversation": ("conversation", ""),
    }
    assert (found["On the file"].side, found["On the file"].hunk) == ("FILE", "")
    assert found["In the conversation"].minimized == "outdated"


async def test_accounts_that_are_gone_renamed_or_no_people(world: World, shop: Repo, ann: User, github: GitHub) -> None:
    pull = shop.pull(by=ann)
    leaver, robot = world.user("leaver"), world.user("copilot", kind="Bot")
    placeholder = world.user("imported", kind="Mannequin")
    for who in (leaver, robot, placeholder, ann):
        pull.say(f"from {who.login}", by=who)
    leaver.gone, ann.login = True, "ann-smith"
    found = {comment.body: comment.author for comment in comments(await gathered(github.everything(SCOPE)))}
    assert found == {
        "from leaver": Author(kind="deleted"),
        "from copilot": Author("copilot", robot.id, "bot"),
        "from imported": Author(kind="deleted"),
        "from ann": Author("ann-smith", ann.id),
    }


async def test_checks_say_how_they_ended_and_what_is_wrong(shop: Repo, ann: User, github: GitHub) -> None:
    pull = shop.pull(by=ann)
    pull.check("unit tests")
    pull.check("lint", "FAILURE", ["line too long"], title="1 problem", summary="See below.")
    pull.check("slow", None)
    pull.status("deploy", "ERROR", "no host", by=ann)
    batches = await gathered(github.everything(SCOPE))
    assert [(check.name, check.conclusion) for check in pulls(batches)[1].checks] == [
        ("unit tests", "success"),
        ("lint", "failure"),
        ("slow", ""),
        ("deploy", "error"),
    ]
    assert pulls(batches)[1].checks[0] == Check("unit tests", "success", pulls(batches)[1].checks[0].url)
    lint, deploy = comments(batches)
    assert (lint.kind, lint.verdict, lint.author) == ("check", "failure", Author("ci", "A_1", "bot"))
    assert lint.body == "lint\n\n1 problem\n\nSee below."
    assert lint.annotations == (Annotation("prompts/support.md", "line too long", 1, "failure", ""),)
    assert (deploy.body, deploy.author.kind) == ("deploy\n\nno host", "bot")


async def test_what_overflows_a_page_is_fetched_to_its_end(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    pull = shop.pull(by=ann, files=[f"docs/{n}.md" for n in range(250)])
    first = pull.comment("thread 0", by=ann)
    for n in range(1, 130):
        pull.comment(f"thread {n}", by=ann)
    for n in range(230):
        pull.comment(f"reply {n}", by=ann, reply_to=first)
    for n in range(145):
        pull.say(f"said {n}", by=ann)
    for n in range(70):
        pull.check(f"check {n}", "FAILURE", [f"problem {line}" for line in range(120 if n == 69 else 12)])
    batches = await gathered(github.everything(SCOPE))
    found = comments(batches)
    said = [comment.body for comment in found if comment.kind != "check"]
    assert len(said) == len(set(said)) == 130 + 230 + 145
    checks = [comment for comment in found if comment.kind == "check"]
    assert len(checks) == len({comment.id for comment in checks}) == 70
    assert sorted({len(comment.annotations) for comment in checks}) == [12, 120]
    (pulled,) = pulls(batches).values()
    assert (len(pulled.files or ()), len(pulled.checks)) == (250, 70)
    assert notices(batches) == []
    assert [number for batch in batches for number in batch.done] == [1]
    assert server.count("graphql") < 10


async def test_rests_of_many_pull_requests_share_requests(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    for _ in range(30):
        pull = shop.pull(by=ann)
        for n in range(41):
            pull.say(f"{n}", by=ann)
    batches = await gathered(github.everything(Scope("acme/shop")))
    assert len(comments(batches)) == 30 * 41
    assert server.count("graphql") == 2


async def test_a_cursor_comes_only_when_nothing_in_front_of_it_is_missing(
    shop: Repo, ann: User, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 3: a pull that is killed loses no rest of a page."""
    for number in range(6):
        pull = shop.pull(by=ann)
        for n in range(41 if number == 3 else 1):
            pull.say(f"{number}/{n}", by=ann)
    monkeypatch.setattr(github, "_size", 2)
    monkeypatch.setattr("promptlearn.forge.github.RESTS", 100)
    batches = await gathered(github.everything(Scope("acme/shop")))
    assert len(comments(batches)) == 46
    cursors = [index for index, batch in enumerate(batches) if batch.cursor]
    done = [index for index, batch in enumerate(batches) if 4 in batch.done]
    assert len(cursors) == 1
    assert cursors < done
    left = await gathered(github.everything(Scope("acme/shop"), resume=batches[cursors[0]].cursor))
    assert {comment.pull for comment in comments(left)} == {1, 2, 3, 4}


async def test_what_is_missing_is_noticed(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comments of hidden accounts are counted and not shown; the pull request is not called whole then."""
    import github_graphql

    pull = shop.pull(by=ann)
    for n in range(3):
        pull.say(f"{n}", by=ann)
    shown = github_graphql.FIELDS["IssueCommentConnection"] | {"nodes": lambda page, args: [*page.nodes[:2], None]}
    monkeypatch.setitem(github_graphql.FIELDS, "IssueCommentConnection", shown)
    batches = await gathered(github.everything(SCOPE))
    assert notices(batches) == ["pull request 1: 2 of 3 comments of the conversation could be read"]
    assert [done.ids for batch in batches for done in batch.done.values()] == [None]


async def test_a_pull_request_that_is_gone_meanwhile(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    pull = shop.pull(by=ann)
    for n in range(41):
        pull.say(f"{n}", by=ann)
    batches = []
    async for batch in github.everything(Scope("acme/shop")):
        batches.append(batch)
        shop.pulls.clear()
    assert len(comments(batches)) == 40
    assert notices(batches) == ["pull request 1: 40 of 41 comments of the conversation could be read"]


async def test_only_what_is_new_enough(
    world: World, server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    for n in range(4):
        shop.pull(by=ann).say(f"{n}", by=ann)
        world.pass_time(days=1)
    batches = await gathered(github.everything(SCOPE, since="2026-06-03T00:00:00Z"))
    assert sorted(comment.body for comment in comments(batches)) == ["2", "3"]
    assert server.count("graphql") == 1


async def test_only_with_a_label(shop: Repo, ann: User, github: GitHub) -> None:
    for labels in (["prompt"], ["docs"], [], ["docs", "prompt"]):
        shop.pull(by=ann, labels=labels)
    batches = await gathered(github.everything(Scope("acme/shop", labels=("prompt",))))
    assert sorted(pulls(batches)) == [1, 4]


async def test_certain_pull_requests_and_those_that_are_not_there(shop: Repo, ann: User, github: GitHub) -> None:
    for n in range(5):
        shop.pull(by=ann).say(f"{n}", by=ann)
    batches = await gathered(github.some(SCOPE, [4, 2, 2, 99]))
    assert sorted(comment.body for comment in comments(batches)) == ["1", "3"]
    assert notices(batches) == ["there is no pull request 99 in acme/shop"]


async def test_a_page_that_is_too_much_is_asked_for_in_halves(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    for n in range(60):
        shop.pull(by=ann).say(f"{n}", by=ann)
    server.slow_above = 13
    batches = await gathered(github.everything(Scope("acme/shop")))
    assert sorted(int(comment.body) for comment in comments(batches)) == list(range(60))
    assert sum("failure" in told for told in Waits(server).told) == 0
    asked = [seen.body["variables"]["first"] for seen in server.requests]
    assert asked == [100, 100, 50, 50, 25, 25, 12, 12, 12, 12, 12]
    server.slow_above = 5
    server.requests.clear()
    assert len(comments(await gathered(github.some(Scope("acme/shop"), range(1, 13))))) == 12


async def test_limits_of_the_query_itself_count_as_too_much(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    shop.pull(by=ann).say("here", by=ann)
    error = {"type": "RESOURCE_LIMITS_EXCEEDED", "message": "Resource limits for this query exceeded."}
    server.answers.append({"data": {"repository": None}, "errors": [error]})
    server.answers.append({"data": None, "errors": [{"message": "Something went wrong while executing your query."}]})
    assert [comment.body for comment in comments(await gathered(github.everything(SCOPE)))] == ["here"]
    assert [seen.body["variables"]["first"] for seen in server.requests] == [100, 50, 25]


async def test_a_server_that_is_too_slow_for_the_smallest_page(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    server.fail(status=504, times=99)
    with pytest.raises(ForgeError, match="answered 504"):
        await gathered(github.everything(SCOPE))
    assert min(seen.body["variables"]["first"] for seen in server.requests) == 5


async def test_checks_that_the_token_may_not_read_are_left_out_with_a_notice(
    server: GitHubServer, shop: Repo, ann: User, github: GitHub
) -> None:
    shop.hides_checks = True
    for _ in range(3):
        shop.pull(by=ann).say("here", by=ann)
    batches = [*await gathered(github.everything(SCOPE)), *await gathered(github.some(SCOPE, [1]))]
    assert len(comments(batches)) == 4
    (notice,) = notices(batches)
    assert "checks can not be read: Resource not accessible by personal access token" in notice
    assert [seen.body["variables"]["checks"] for seen in server.requests] == [True, False]


async def test_a_repository_that_is_not_there(github: GitHub) -> None:
    with pytest.raises(ForgeError, match="knows no acme/none, or the token may not see it") as caught:
        await gathered(github.everything(Scope("acme/none")))
    assert caught.value.kind == "not_found"
    for name in ("acme", "acme/", "acme/x y", "-a/b", "a/b/c", "a/b?c"):
        with pytest.raises(UsageError, match="names no repository; write it as OWNER/NAME"):
            check_name(name)


async def test_a_refused_question_is_said(server: GitHubServer, github: GitHub) -> None:
    server.answers.append({"errors": [{"type": "FORBIDDEN", "message": "SAML enforcement"}]})
    with pytest.raises(ForgeError, match="refuses the question: SAML enforcement"):
        await gathered(github.everything(SCOPE))


async def test_a_token_that_could_write_is_noticed(server: GitHubServer, shop: Repo, ann: User, github: GitHub) -> None:
    server.scopes = "repo, workflow"
    shop.pull(by=ann)
    (notice,) = set(notices(await gathered(github.everything(SCOPE))))
    assert notice == "the token may write (repo); one that may only read pull requests is enough"


async def test_secrets_in_comments_are_taken_out(server: GitHubServer, shop: Repo, ann: User, github: GitHub) -> None:
    """Invariant 10."""
    shop.pull(by=ann).comment(
        f"use ghp_0123456789abcdef or {READ}", by=ann, hunk="@@ -1 +1 @@\n+key: AKIA0123456789ABCDEF"
    )
    (comment,) = comments(await gathered(github.everything(SCOPE)))
    assert comment.body == "use [redacted] or [redacted]"
    assert comment.hunk == "@@ -1 +1 @@\n+key: [redacted]"


async def test_what_a_user_may_do(world: World, shop: Repo, github: GitHub) -> None:
    for role in ("admin", "maintain", "write", "triage", "read"):
        world.user(role, may=role, on=shop)
        assert await github.permission("acme/shop", role) == role
    assert await github.permission("acme/shop", "nobody/../x") == "none"
    special = world.user("special", may="write", on=shop)
    shop.permissions[special.id] = ("write", "security-lead")
    assert await github.permission("acme/shop", "special") == "write"
    shop.hides_permissions = True
    assert await github.permission("acme/shop", "write") is None


def sizes(world: World) -> dict[str, tuple[int, int]]:
    """Nodes and points of each query, as GitHub counts them."""
    variables = {"owner": "acme", "name": "shop", "first": PULLS, "files": True, "checks": True}
    rests = [Rest("threads", "PR_1", "C")] * RESTS
    queries = {"page": PAGE_QUERY, "numbers": numbers_query(range(PULLS)), "rests": rest_query(rests)}
    measured = {name: Executor(world, query, variables).size for name, query in queries.items()}
    return {name: (size.nodes, size.cost) for name, size in measured.items()}


def test_queries_stay_below_github_s_limits(world: World) -> None:
    """500,000 nodes; and a thousand pull requests within the thousand points an hour that Actions have."""
    found = sizes(world)
    assert found["page"] == (106_200, 67)
    assert found["numbers"] == (106_100, 67)
    assert found["rests"] == (RESTS * 640, 16)


def test_the_server_of_these_tests_refuses_what_github_refuses(world: World) -> None:
    for query, kind in [
        ("query { repository(owner: 1, name: 1) { pulls(first: 101) { nodes { id } } } }", "EXCESSIVE_PAGINATION"),
        ("query { repository(owner: 1, name: 1) { pulls { nodes { id } } } }", "MISSING_PAGINATION_BOUNDARIES"),
        ("query { a { b(first: 100) { c(first: 100) { d(first: 50) { id } } } } }", "MAX_NODE_LIMIT_EXCEEDED"),
        ("query { a } fragment F on X { id }", "useAndDefineFragment"),
        ("mutation { a }", "PARSE"),
    ]:
        with pytest.raises(Refused) as caught:
            Executor(world, query, {})
        assert caught.value.kind == kind
    with pytest.raises(Refused, match="Field 'nope' doesn't exist on type 'Query'"):
        Executor(world, "query { nope }", {}).run({})
