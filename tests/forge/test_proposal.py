"""What a pull request says and changes, before anything is sent."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learned_run import BOUND, NEW, OLD, learned_run

from promptlearn.cli.main import execute
from promptlearn.errors import UsageError
from promptlearn.forge.body import body, message, plain, title
from promptlearn.forge.managed import put_block, read_block
from promptlearn.forge.propose import branch_name, make_proposal
from promptlearn.forge.winner import Winner, find_winner
from promptlearn.hidden import find_hidden
from promptlearn.prompt import chat_file, parse_prompt
from promptlearn.records import Demonstration, Layout, Message, Prompt, Rule
from promptlearn.sections import join_sections
from promptlearn.store import Store, open_store

PATH = "prompts/support.md"
BASE = b"\xef\xbb\xbfBe helpful.\r\n"
GAP = "&#8203;"
LEARNED = "Be helpful.\n\nRules:\n" + "".join(f"- {rule.text}\n" for rule in NEW.rules)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


def winner_of(store: Store, **changes: object) -> Winner:
    return find_winner(store, asyncio.run(learned_run(store, **changes)))  # type: ignore[arg-type]


def test_the_winner_is_read_from_the_store(store: Store) -> None:
    winner = winner_of(store)
    assert (winner.old, winner.new, winner.seed, winner.test_reads) == (OLD, NEW, 7, 1)
    assert (winner.before.score, winner.after.errors, winner.difference.p_value) == (0.4, 1, 0.00098)
    assert winner.worse == ("e2",)
    assert len(winner.better) == 12
    assert winner.steps == (("rules", "what reviewers ask for"),)
    assert winner.rules == NEW.rules


def test_an_example_without_a_score_got_worse(store: Store) -> None:
    """Invariant 4: a failure is not a score, and hides no loss."""
    winner = winner_of(store, worse=("e1", "e2"))
    assert winner.worse == ("e1", "e2")


@pytest.mark.parametrize("decision", ["not_proven", "regressed"])
def test_what_is_not_proven_is_not_proposed(store: Store, decision: str) -> None:
    """Invariant 7."""
    with pytest.raises(UsageError, match=rf"is {decision}: no improvement is proven on its test split"):
        winner_of(store, decision=decision)


def test_what_is_not_finished_is_not_proposed(store: Store) -> None:
    asyncio.run(store.start_run({}, "eval/x", {}, 0))
    with pytest.raises(UsageError, match="is an evaluation, which learns nothing"):
        find_winner(store)
    asyncio.run(store.start_run({}, "x", {}, 0))
    with pytest.raises(UsageError, match="is killed and has no result yet; finish it with `promptlearn resume"):
        find_winner(store)


def test_the_body_says_what_was_measured(store: Store) -> None:
    """Invariant 11."""
    winner = winner_of(store)
    text = body(winner, [PATH])
    for piece in (
        "| before | 0.400 | 0.200 – 0.600 | 20 | 0 |",
        "| after | 0.950 | 0.750 – 1.000 | 20 | 1 |",
        "Difference +0.550 (95 % interval +0.300 to +0.800), p = 0.00098, `mcnemar_exact`, n = 20 pairs.",
        "1 test example got worse with at least one judge: `e2`; 12 got better.",
        "- Never promise a refund.\n  - from [a comment on pull request 3]"
        "(https://github.com/shop/support/pull/3#discussion_r12), `exact@e1`; "
        "worth +0.250 (95 % +0.050 to +0.450, n = 40)",
        "from `5f2c`; worth not measured on its own",
        "1. `rules`: what reviewers ask for",
        "| task | 90 | 4 | 1200 | 300 | unknown |",
        "| meta | 90 | 4 | 1200 | 300 | $0.0123 |",
        "pip install promptlearn-optimizer==0.1.0\npromptlearn run --set search.seed=7\n",
        f"Run `{winner.run}`, prompts `{OLD.digest}` → `{NEW.digest}`, seed 7",
        "models: task `local/tiny.gguf`, meta `openai/big`",
        "`python` `3.11.7`",
    ):
        assert piece in text
    assert body(find_winner(store, winner.run), [PATH]) == text


def test_nothing_from_outside_mentions_closes_or_hides(store: Store) -> None:
    """Invariant 9."""
    evil = "<!-- @all --> ![x](http://e.example/?k) hi @ana/team\u200b fixes #9 </details> [a](http://e.example) `x`"
    winner = winner_of(
        store, new=replace(NEW, rules=(*NEW.rules, Rule(evil, ("judge`@ana\nfixes #8",)))), rationale=evil
    )
    text = body(winner, [PATH])
    outside = re.sub(r"`[^`\n]*`", "", re.sub(r"\]\(https://github\.com/[^)]*\)", "", text)).replace(GAP, "·")
    assert not re.search(r"@\w|#\d|GH-\d|e\.example|<", outside)
    assert list(find_hidden(text)) == []
    assert "hi @&#8203;ana/team fixes \\#&#8203;9" in text


@given(st.text(max_size=80) | st.lists(st.sampled_from([*"@#`*_[]()<>|\\-~$&!1a \n.", "GH-", "://"])).map("".join))
def test_plain_text_is_one_line_that_says_just_that(text: str) -> None:
    line = plain(text)
    seen = line.replace("\\\\", "").replace(GAP, "·")
    assert "\n" not in line
    assert not re.search(r"@[\w-]|#\d|GH\\?-\d|(?<!\\)[`*_\[\]|~]|<|>", seen, re.IGNORECASE)
    assert not re.match(r"\d+[.)]|[-+#] ", line)


def test_a_long_body_is_cut(store: Store) -> None:
    rules = tuple(Rule(f"{number} {'x ' * 290}", ("y" * 100,) * 9) for number in range(200))
    text = body(winner_of(store, new=replace(OLD, rules=rules)), [PATH])
    assert len(text) < 61_000
    assert "and 150 more" in text or "promptlearn show" in text.splitlines()[-1]


def test_titles_and_messages_are_short(store: Store) -> None:
    winner = winner_of(store)
    assert title(winner, PATH) == "Learned prompt for prompts/support.md: test score 0.400 → 0.950"
    assert len(title(winner, "a/" * 99 + "b" * 99 + ".md")) <= 120
    assert message(winner, PATH, "00ff").endswith(f"\n\nPromptlearn-Run: {winner.run}\nPromptlearn-Content: 00ff\n")


def test_the_prompt_file_of_the_run_changes_and_nothing_else(store: Store) -> None:
    winner = winner_of(store)
    proposal = make_proposal(winner, {PATH: BASE})
    (change,) = proposal.changes
    assert change.new == ("\ufeff" + LEARNED).replace("\n", "\r\n").encode()
    assert proposal.branch == branch_name(winner, [PATH])
    assert re.fullmatch(r"promptlearn/support-[0-9a-f]{8}", proposal.branch)
    assert change.diff().startswith("--- a/prompts/support.md\n+++ b/prompts/support.md\n")
    assert make_proposal(winner, {PATH: change.new}).changes == ()


def test_a_better_run_from_the_same_prompt_has_the_same_branch(store: Store) -> None:
    first, better = winner_of(store), winner_of(store, new=replace(NEW, rules=NEW.rules[:1]))
    assert branch_name(first, [PATH]) == branch_name(better, [PATH])
    other = winner_of(store, old=OLD.with_text("Be brief."))
    assert branch_name(first, [PATH]) != branch_name(other, [PATH])
    assert branch_name(first, [PATH]) != branch_name(first, ["CLAUDE.md"])


@pytest.mark.parametrize("base", [b"Be helpful and kind.\n", b"Be helpful.\n\n", b"be helpful."])
def test_a_base_that_has_changed_since_the_run_is_refused(store: Store, base: bytes) -> None:
    winner = winner_of(store)
    with pytest.raises(UsageError, match=rf"{PATH} on the base branch is not what run {winner.run} began with"):
        make_proposal(winner, {PATH: base})
    with pytest.raises(UsageError, match=rf"there is no {PATH} on main; say with --path"):
        make_proposal(winner, {PATH: None}, "on main")


def test_every_format_of_prompt_files(store: Store) -> None:
    chat = Prompt((Message("system", "Label it."), Message("user", "{message}")), contract=BOUND)
    better = replace(chat, rules=NEW.rules, demonstrations=(Demonstration({"message": "hi"}, "other", "e9"),))
    data = chat_file(chat).source
    winner = winner_of(store, old=chat, new=better, file=Path("/srv/p.yaml"))
    (change,) = make_proposal(winner, {"p.yaml": data}).changes
    assert parse_prompt(change.new, "p.yaml").prompt.rules == NEW.rules
    assert "1 new demonstration." in body(winner, ["p.yaml"])
    assert "1, taken from the train examples `e9`." in body(winner, ["p.yaml"])

    keyed = b"# ours\nsupport: {system: Be helpful.}\n"
    winner = winner_of(store, file=None, prompt={"file": "/srv/all.yaml", "key": "support.system"})
    (change,) = make_proposal(winner, {"all.yaml": keyed}).changes
    assert parse_prompt(change.new, "all.yaml", "support.system").prompt.text == LEARNED[:-1]
    assert change.new.startswith(b"# ours\nsupport: {system: ")

    block = put_block(b"# House\n", "Be helpful.", "CLAUDE.md")
    old = parse_prompt(block, "CLAUDE.md").prompt
    winner = winner_of(store, old=old, new=replace(old, rules=NEW.rules), file=Path("/srv/CLAUDE.md"))
    (change,) = make_proposal(winner, {"CLAUDE.md": block}).changes
    assert read_block(change.new, "CLAUDE.md") == LEARNED[:-1]
    with pytest.raises(UsageError, match="is not what run"):
        make_proposal(winner, {"CLAUDE.md": block.replace(b"House", b"Home")})


def test_files_that_agents_read_get_a_block(store: Store) -> None:
    winner = winner_of(store)
    rule = b"---\nglobs: '*'\n---\nOurs.\n"
    bases = {"CLAUDE.md": b"# House\r\n", ".cursor/rules/a.mdc": rule, "AGENTS.md": None, PATH: BASE}
    proposal = make_proposal(winner, bases)
    claude, cursor, agents, _ = proposal.changes
    assert claude.new.startswith(b"# House\r\n\r\n<!-- promptlearn:begin")
    assert cursor.new.startswith(rule)
    assert read_block(agents.new, "AGENTS.md") == LEARNED[:-1]
    assert agents.diff().startswith("--- /dev/null\n+++ b/AGENTS.md\n")
    assert make_proposal(winner, {change.path: change.new for change in proposal.changes}).changes == ()
    for text in ("", "Be helpful."):
        held = put_block(b"# House\n", text, "CLAUDE.md")
        (change,) = make_proposal(winner, {"CLAUDE.md": held}).changes
        assert read_block(change.new, "CLAUDE.md") == LEARNED[:-1]
    with pytest.raises(UsageError, match=r"the promptlearn block of CLAUDE\.md on the base branch is not what run"):
        make_proposal(winner, {"CLAUDE.md": put_block(b"", "Be somebody else.", "CLAUDE.md")})


FIND, LABEL = b"Name the topic.\n", b"\xef\xbb\xbfTag the topic.\r\n"


def bundle_of(store: Store, folder: Path) -> Winner:
    """Of a program with two prompts, one of which learned a rule."""
    text = join_sections({"find": "Name the topic.", "label": "Tag the topic."})
    old = Prompt((Message("system", text),), layout=Layout("text"))
    new = replace(old, rules=(Rule("Use one word.", part="find"),))
    files = {name: str(folder / f"prompts/{name}.md") for name in ("find", "label")}
    return winner_of(store, old=old, new=new, file=None, prompt={"files": files})


def test_each_of_several_prompts_goes_into_its_own_file(store: Store) -> None:
    winner = bundle_of(store, Path("/srv"))
    proposal = make_proposal(winner, {"prompts/find.md": FIND, "prompts/label.md": LABEL})
    (change,) = proposal.changes
    assert (change.path, change.new) == ("prompts/find.md", b"Name the topic.\n\nRules:\n- Use one word.\n")
    assert "`prompts/find.md`, `prompts/label.md`" in proposal.body
    assert "\npromptlearn run --set search.seed=7\n" in proposal.body
    assert make_proposal(winner, {change.path: change.new}).changes == ()
    for bases, match in (
        ({"prompts/find.md": b"Another.\n"}, "is not what run .* began with"),
        ({"prompts/label.md": None}, "there is no prompts/label.md"),
        ({"AGENTS.md": FIND}, "is none of the prompts .* /srv/prompts/find.md, /srv/prompts/label.md"),
    ):
        with pytest.raises(UsageError, match=match):
            make_proposal(winner, bases)


def test_several_prompts_are_proposed_by_one_command(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_of(store, tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/find.md").write_bytes(FIND)
    (tmp_path / "prompts/label.md").write_bytes(LABEL)
    monkeypatch.chdir(tmp_path.parent)
    assert execute(["github", "propose", "--dry-run", "--store", str(tmp_path / "store.db"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["files"] == ["prompts/find.md"]
    assert "+- Use one word." in shown["diff"]


def test_what_no_block_can_say_is_refused(store: Store) -> None:
    asks = Prompt((Message("system", "Label {message}."),), contract=BOUND)
    winner = winner_of(store, old=asks, new=replace(asks, rules=NEW.rules))
    with pytest.raises(UsageError, match=r"this prompt has variables to fill in: \{message\}"):
        make_proposal(winner, {"CLAUDE.md": b""})
    turns = replace(Prompt.of("Be helpful."), demonstrations=(Demonstration({"message": "hi"}, "other"),))
    with pytest.raises(UsageError, match="this prompt has several or chat turns"):
        make_proposal(winner_of(store, new=turns), {"CLAUDE.md": b""})


def test_settings_that_are_not_the_usual_ones_are_in_the_command(store: Store) -> None:
    winner = winner_of(store, search={"rounds": 2, "drafts": 4, "seed": 7}, budget={"task_calls": 700})
    assert (
        "promptlearn run --set search.rounds=2 \\\n  --set budget.task_calls=700 \\\n  --set search.seed=7\n"
        in body(winner, [PATH])
    )
