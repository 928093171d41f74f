"""Programs with several prompts: blame, focus on one of them, and a run that learns each."""

from collections.abc import Sequence
from pathlib import Path

import synthetic
from hypothesis import given
from hypothesis import strategies as st

from promptlearn import Budget, Model, ScriptedModel
from promptlearn.config import SearchConfig
from promptlearn.dataset import load_dataset
from promptlearn.feedback import JudgedRow
from promptlearn.feedback.blame import blame, blamed
from promptlearn.job import Job, JudgeSpec, run_job
from promptlearn.judging import ExactMatch
from promptlearn.optimizer.focus import focus_on
from promptlearn.proposing.base import Brief
from promptlearn.records import (
    Candidate,
    Contract,
    Draft,
    Example,
    FailureMode,
    Message,
    Prompt,
    Review,
    Rollout,
    Rule,
    Turn,
    TurnNote,
    Verdict,
)
from promptlearn.report import load_run
from promptlearn.sections import add_to_section, heading, join_sections, split_sections
from promptlearn.store import open_store

NAMES = ("find", "label")
WHOLE = Prompt(
    (Message("system", join_sections({"find": "Name the topic.", "label": "Tag the topic."})),),
    contract=Contract(locked=tuple(map(heading, NAMES))),
)


def row(number: int, *verdicts: Verdict, said: Sequence[str] = NAMES) -> JudgedRow:
    turns = tuple(Turn("assistant", "…", prompt=name) for name in said)
    return JudgedRow(Example(str(number), {}), Rollout("p", str(number), "out", turns), verdicts)


def hurt(turn: int, gold: bool = False) -> Verdict:
    return Verdict("j", "p/1", 0.0, turn_notes=(TurnNote(turn, "hurt", "it guessed"),), gold=gold)


def test_the_turn_that_hurt_blames_the_prompt_that_it_was_said_under() -> None:
    assert blamed(row(1, hurt(1)), NAMES) == {"find"}
    assert blamed(row(1, hurt(2), hurt(1, gold=True)), NAMES) == {"label"}
    assert blamed(row(1, Verdict("j", "p/1", 0.0, suggestion="find: name it in one word")), NAMES) == {"find"}
    assert blamed(row(1, Verdict("j", "p/1", 0.0, explanation="wrong\nlabel: not from the list")), NAMES) == {"label"}
    assert blamed(row(1, hurt(7)), NAMES) == frozenset()
    assert blame([row(1, hurt(1)), row(2, hurt(1), hurt(2)), row(3)], NAMES) == {"find": 1.5, "label": 0.5}


def test_praise_does_not_blame() -> None:
    said = "find: named correctly\nlabel: not from the list"
    assert blamed(row(1, Verdict("j", "p/1", 1.0, explanation=said)), NAMES) == frozenset()
    assert blamed(row(1, Verdict("j", "p/1", 0.6, explanation=said, passed=True)), NAMES) == frozenset()
    assert blamed(row(1, Verdict("j", "p/1", None, explanation=said)), NAMES) == frozenset()
    helped = TurnNote(1, "helped", "one word")
    assert blamed(row(1, Verdict("j", "p/1", 0.0, explanation=said, turn_notes=(helped,))), NAMES) == {"label"}
    other = Verdict("k", "p/1", 0.0, explanation="wrong tag")
    assert blamed(row(1, Verdict("j", "p/1", 1.0, explanation=said), other), NAMES) == frozenset()


def test_a_name_may_stand_in_markdown() -> None:
    for line in ("- **find**: two words", "> find: two words", "**find:** two words", "* `find`: two words"):
        assert blamed(row(1, Verdict("j", "p/1", 0.0, explanation=f"Wrong.\n{line}")), NAMES) == {"find"}
    for line in ("I find: nothing", "find (passed): one word", "label is not find: it guesses", "finder: two words"):
        assert blamed(row(1, Verdict("j", "p/1", 0.0, explanation=line)), NAMES) == frozenset()


def test_a_rule_stands_in_the_section_of_its_prompt() -> None:
    """Invariant 12: everything else of the text stays as it is."""
    prompt = Prompt(WHOLE.messages, (Rule("Use one word.", part="find"), Rule("Be terse.")), contract=WHOLE.contract)
    texts = split_sections(prompt.learned_text(), NAMES)
    assert texts == {
        "find": "Name the topic.\n\nRules:\n- Use one word.",
        "label": "Tag the topic.\n\nRules:\n- Be terse.",
    }
    assert prompt.digest != Prompt(WHOLE.messages, (Rule("Use one word."), Rule("Be terse."))).digest


@given(st.lists(st.text("ab \n", max_size=8).map(str.strip), min_size=2, max_size=4), st.integers(0, 3))
def test_a_block_changes_its_own_section_alone(texts: list[str], which: int) -> None:
    names = [f"p{number}" for number in range(len(texts))]
    chosen = names[which % len(names)]
    before = split_sections(join_sections(dict(zip(names, texts, strict=True))), names)
    after = split_sections(add_to_section(join_sections(before), chosen, "NEW"), names)
    assert after == {**before, chosen: f"{before[chosen]}\n\nNEW".strip()}


def test_the_blamed_prompt_is_shown_alone_and_put_back() -> None:
    focus = focus_on(WHOLE, [row(1, hurt(1)), row(2, hurt(1))], turn=1, seed="s")
    assert focus is not None
    assert focus.part == "find"
    assert focus.prompt.text == "Name the topic."
    assert focus.prompt.contract.locked == ()
    draft = focus.widened(Draft(Prompt.of("Name it in a word."), "shorter"))
    assert split_sections(draft.prompt.text, NAMES) == {"find": "Name it in a word.", "label": "Tag the topic."}
    assert draft.rationale == "find: shorter"
    assert focus.narrowed(draft).prompt.text == "Name it in a word."
    everything = join_sections({"find": "Name it in a word.", "label": "And this too."})
    assert focus.widened(Draft(Prompt.of(everything))).prompt == draft.prompt
    ruled = focus.widened(Draft(Prompt(focus.prompt.messages, (Rule("One word.", ("e1",)),))))
    assert ruled.prompt.rules == (Rule("One word.", ("e1",), part="find"),)


def test_without_blame_prompts_take_turns_and_a_single_prompt_needs_no_focus() -> None:
    chosen = [focus_on(WHOLE, [], turn, "s") for turn in range(4)]
    assert [one.part for one in chosen if one] == ["find", "label", "find", "label"]
    assert focus_on(Prompt.of("Tag it."), [], 0, "s") is None


def test_a_focused_brief_leaves_out_what_others_did_and_what_reviewers_have_got() -> None:
    focus = focus_on(WHOLE, [row(1, hurt(1)), row(2, hurt(1)), row(3, hurt(2))], turn=0, seed="s")
    assert focus is not None
    other = "3" if focus.part == "find" else "1"
    modes = (FailureMode("mine", ("2", "3"), ()), FailureMode("theirs", (other,), ()))
    reviews = (Review("r1", "Tag the topic."), Review("r2", "Never say sorry."))
    brief = focus.brief(Brief(WHOLE, modes, reviews=reviews))
    assert [mode.title for mode in brief.modes] == ["mine"]
    assert [review.id for review in brief.reviews] == ["r2"]


class TwoSteps:
    """A program of two calls: the first names the topic, the second tags it."""

    identity, warnings, name, takes_demonstrations = "two/1", (), "two", False

    def __init__(self, model: Model | None = None) -> None:
        self._model = model

    def open(self, model: Model) -> "TwoSteps":
        return TwoSteps(model)

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        assert self._model is not None
        texts = split_sections(prompt.learned_text(), NAMES)
        turns: list[Turn] = []
        asked = str(example.inputs["message"])
        for name in NAMES:
            messages = (Message("system", texts[name]), Message("user", asked))
            asked = (await self._model.complete(messages)).text
            turns.append(Turn("assistant", asked, prompt=name))
        return Rollout(prompt.digest, example.id, asked, tuple(turns))


def answer(messages: Sequence[Message]) -> str:
    taught, asked = messages[0].content, messages[1].content
    if "topic" in taught.splitlines()[0] and taught.startswith("Name"):
        return (synthetic.topic_of(asked) or "unknown") if "one word" in taught else f"I think: {asked}"
    return synthetic.TAGS.get(asked, "unknown") if "from the list" in taught else "some tag"


class Blaming:
    """Right or wrong, and which turn hurt: one that is more than a word, or the last."""

    name = "blaming"

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        if rollout.output == example.expected:
            return Verdict(self.name, rollout.id, 1.0, explanation="right")
        turn = 1 if " " in rollout.turns[0].content else 2
        score = 0.0 if turn == 1 else 0.5
        notes = (TurnNote(turn, "hurt", "useless"),)
        return Verdict(self.name, rollout.id, score, explanation="wrong", turn_notes=notes, passed=False)


class Fixing:
    """Adds what the prompt that it is shown lacks; it knows of no other."""

    name = "fixing"

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        lesson = "Use one word." if "Name" in brief.parent.text else "Take the tag from the list."
        rules = (*brief.parent.rules, Rule(lesson, tuple(brief.modes[0].examples)))
        return [Draft(Prompt(brief.parent.messages, rules, contract=brief.parent.contract), lesson)]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        return None


async def test_a_run_learns_each_prompt_from_the_critique_that_blames_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    job = Job(
        prompt=WHOLE,
        file=None,
        dataset=load_dataset(synthetic.rows(160), inputs=["message"], expected="tag"),
        task=ScriptedModel(answer, identity="steps"),
        judges=(JudgeSpec(Blaming()), JudgeSpec(ExactMatch(), weight=0)),
        store=store,
        proposers=(Fixing(),),
        search=SearchConfig(rounds=4, pipeline_depth=1),
        budget=Budget(task_calls=3000),
        program=TwoSteps(),
    )
    with store:
        result = await run_job(job)
        report = load_run(store, result.run_id)
        learned = next(one for one in store.reader.candidates(result.run_id) if one.candidate.digest == report.best)
    assert result.decision == "improved"
    assert [event.body["prompt"] for event in report.events if event.kind == "focus"][:2] == ["find", "label"]
    candidate: Candidate = learned.candidate
    assert [(rule.part, rule.text) for rule in candidate.prompt.rules] == [
        ("find", "Use one word."),
        ("", "Take the tag from the list."),
    ]
    assert all(rule.sources and rule.effect for rule in candidate.prompt.rules)  # invariant 11
