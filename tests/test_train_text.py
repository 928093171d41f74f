"""A prompt learns from the train split and does not copy it (invariant 6)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from promptlearn import optimize
from promptlearn.proposing.base import Brief
from promptlearn.records import Demonstration, Draft, Example, Json, Layout, Message, Prompt, Rule
from promptlearn.result import RunResult
from promptlearn.train_text import BESIDE, SPAN, WHOLE, TrainText

QUESTIONS = {
    "What is my PIN?": "get_physical_card",
    "Is my card frozen?": "card_not_working",
    "Where is my card?": "card_arrival",
    "I am still waiting on my card?": "card_arrival",
    "My card has not arrived yet, and it has been two weeks": "card_arrival",
    "refund": "request_refund",
    "Activate my card": "activate_my_card",
    "lost card": "lost_or_stolen_card",
    "The machine has swallowed it": "card_swallowed",
    "How do I get my money back?": "request_refund",
}


def bank() -> list[Example]:
    return [Example(f"e{at}", {"text": text}, label) for at, (text, label) in enumerate(QUESTIONS.items())]


def with_answers(answers: Sequence[Json]) -> TrainText:
    return TrainText([Example(f"e{at}", {"n": at}, answer) for at, answer in enumerate(answers)])


def test_a_prompt_that_lists_the_train_rows_is_made_of_copies() -> None:
    listed = "\n".join(f"{text} -> {label}" for text, label in QUESTIONS.items())
    assert TrainText(bank()).copied(f"You label messages of a bank.\n{listed}") == [
        "What is my PIN? -> get_physical_card",
        "Is my card frozen? -> card_not_working",
        "Where is my card? -> card_arrival",
        "I am still waiting on my card",
        "My card has not arrived yet, and it has been two weeks",
        "The machine has swallowed it",
        "How do I get my money back",
    ]


@pytest.mark.parametrize(
    "pair",
    [
        "get_physical_card: what is my pin",
        "Q: What is my PIN?\nA: get_physical_card",
        "| What is my PIN? | get_physical_card |",
        "If the customer asks “what is my PIN”, then answer get_physical_card.",
        "_What is my PIN_ is *get_physical_card*",
    ],
)
def test_a_short_input_beside_its_answer_is_a_memorised_pair(pair: str) -> None:
    assert TrainText(bank()).copied(pair)


@pytest.mark.parametrize(
    "rule",
    [
        "Answer with one of: get_physical_card, card_arrival, lost_or_stolen_card, request_refund, card_not_working.",
        "A question like “What is my PIN?” is never about a transfer, whatever else the message says.",
        "A lost card is lost_or_stolen_card; a refund is request_refund.",
        "activate_my_card: activate my card.",
        "A card that has not arrived yet, after two weeks or more, is card_arrival; so is “still waiting for it”.",
        "# Cards\n\nMessages about a frozen card: card_not_working. {text}",
        "“Where is my card?” is not get_physical_card.",
    ],
)
def test_a_general_rule_copies_nothing(rule: str) -> None:
    assert TrainText(bank()).copied(rule) == []


def test_spans_of_more_than_twelve_words_are_copies() -> None:
    words = [f"w{n}" for n in range(30)]
    train = TrainText([Example("e1", {"message": " ".join(words), "n": 5})])
    assert train.copied("So: " + ", ".join(words[3:15]) + " x") == []
    assert train.copied("So: " + ", ".join(words[3:16]) + " x") == [", ".join(words[3:16])]
    both = " ".join(words[:14]) + " AND " + " ".join(words[10:25]).upper()
    assert train.copied(both) == [" ".join(words[:14]), " ".join(words[10:25]).upper()]
    assert train.copied("") == []
    assert TrainText([]).copied("Anything at all may be said where nothing is known.") == []


LONG = "Refunds of parcels that came late are paid within ten days to the card that was charged"
STOCK = "We are sorry for that"


@pytest.mark.parametrize("answer", [LONG, STOCK, {"steps": [{"say": f"First.\n{LONG}"}], "tone": "kind"}, [STOCK]])
def test_a_right_answer_is_copied_like_an_input(answer: Json) -> None:
    said = LONG if LONG in str(answer) else STOCK
    assert with_answers([answer]).copied(f"Be kind. {said.upper()}!") == [said.upper()]
    assert TrainText([Example("e1", {"thread": [answer]})]).copied(f"Be kind. {said}!") == [said]


def test_names_are_no_copies() -> None:
    """Labels however long; answers that come back, though they are too many for labels; a column of products."""
    assert with_answers([LONG, STOCK] * 4).copied(f"{LONG}! {STOCK}.") == []
    many = [f"the answer to case {at % 80}" for at in range(120)]
    assert with_answers(many).copied("Say: the answer to case 7.") == []
    assert with_answers(many[:80]).copied("Say: the answer to case 7.") == ["the answer to case 7"]
    assert (
        with_answers([{"kind": "late_parcel_from_abroad"}, {"kind": "x"}]).copied("Say late_parcel_from_abroad") == []
    )
    rows = [
        Example(f"e{at}", {"product": f"premium current account {at % 3}", "text": f"This is message number {at}"})
        for at in range(30)
    ]
    train = TrainText(rows)
    assert train.copied("Ask for the branch where the product is premium current account 2.") == []
    assert train.copied("As in “this is message number 21”.") == ["this is message number 21"]


@pytest.mark.parametrize(
    "message",
    [
        "快递显示已经签收但是我没有收到请帮我查一下到底送到哪里去了",
        "先週注文した商品がまだ届いていないので配送状況を確認してもらえますか",
    ],
)
def test_letters_count_where_a_script_has_no_spaces(message: str) -> None:
    train = TrainText([Example("e1", {"message": message}, "x")])
    assert train.copied(f"规则：“{message}”。") == [message]
    assert train.copied(f"规则：“{message[2:27]}”。") == [message[2:27]]
    assert train.copied(f"规则：“{message[2:26]}”。") == []


def test_marks_are_no_letters_where_letters_count() -> None:
    message = "ฉันสั่งของไปเมื่อสัปดาห์ที่แล้วแต่ยังไม่ได้รับของช่วยตรวจสอบให้หน่อย"
    train = TrainText([Example("e1", {"message": message}, "x")])
    assert train.copied(f"กฎ: “{message}”") == [message]
    assert train.copied("กฎ: เมื่อสัปดาห์ที่แล้วแต่ยังไม่ได้รับ") == []  # 22 letters


def test_a_short_message_without_spaces_is_a_pair_with_its_answer() -> None:
    short = TrainText(
        [Example("e1", {"message": "我的快递到哪里了"}, "物流"), Example("e2", {"message": "退款"}, "财务")]
    )
    assert short.copied("“我的快递到哪里了？”是物流") == ["我的快递到哪里了？”是物流"]
    assert short.copied("问快递到哪里了，是物流；退款是财务") == []


def test_a_word_is_the_same_however_it_is_written() -> None:
    """Composed or not, full width, and with the marks of Indic scripts."""
    train = TrainText(
        [Example("e1", {"message": "Où est passé mon café glacé ?"}), Example("e2", {"message": "मुझे पासवर्ड बदलना है"})]
    )
    assert train.copied("ou\u0300 est passe\u0301 mon cafe\u0301 glace\u0301")
    assert train.copied("ｏù est passé mon café glacé")
    assert train.copied("मुझे पासवर्ड बदलना है") == ["मुझे पासवर्ड बदलना है"]


def test_what_a_known_prompt_says_may_stay_and_demonstrations_are_declared() -> None:
    train = TrainText(bank())
    copied = "My card has not arrived yet, and it has been two weeks"
    pair = "What is my PIN -> get_physical_card"
    seed = replace(Prompt.of("Label it."), messages=(Message("system", f"Label it. {pair}"), Message("user", copied)))
    draft = Prompt.of(f"Label the message. {copied}. {pair}")
    assert train.copied_by(draft) == [copied, pair]
    assert train.copied_by(draft, Prompt.of(copied)) == [pair]
    assert train.copied_by(draft, Prompt.of("Label it."), seed) == []
    assert train.copied_by(
        replace(Prompt.of("x"), rules=(Rule(copied),)), replace(seed, messages=seed.messages[:1])
    ) == [copied]
    shown = (Demonstration({"text": copied}, "card_arrival"),)
    for layout in (Layout("text"), Layout("turns")):
        assert train.copied_by(replace(Prompt.of("Label it."), demonstrations=shown, layout=layout)) == []


WORDS = st.sampled_from([*"abcdefghij", "card", "pay", "my", "is", "Lost", "größe", "don't", "42", "ποῦ", "卡", "कार्ड"])
TEXTS = st.lists(WORDS, max_size=30).map(" ".join)
AROUND = st.sampled_from(["", "“", "\n- ", "\t*", "(", " | ", "... ", " e.g. ", "\n\n## Rules\n"])


@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
def test_a_whole_row_is_always_found_and_short_spans_never(texts: list[str], data: st.DataObject) -> None:
    rows = [Example(f"e{at}", {"text": text}, str(at)) for at, text in enumerate(dict.fromkeys(texts))]
    train = TrainText(rows)
    row = data.draw(st.sampled_from(rows))
    message = str(row.inputs["text"])
    quoted = f"Label it.{data.draw(AROUND)}{message.upper()}{data.draw(AROUND)}"
    if len(message.split()) >= 3 and len(message) >= WHOLE:
        assert train.copied(quoted)
        assert train.copied_by(Prompt.of(quoted), Prompt.of(f"Old: {message}")) == []
        shown = (Demonstration(row.inputs, "x"),)
        assert train.copied_by(replace(Prompt.of("Label it."), demonstrations=shown)) == []
    elif len(message) < BESIDE:
        assert train.copied(f"Say {message} so.") == []


@given(st.integers(0, 40), st.integers(1, SPAN), st.integers(0, 10_000))
def test_short_spans_of_long_rows_are_no_copies(first: int, length: int, seed: int) -> None:
    words = [f"w{n}" for n in range(60)]
    Random(seed).shuffle(words)
    train = TrainText([Example("e1", {"text": " ".join(words)}, "a"), Example("e2", {"text": "something else"}, "b")])
    span = words[first : first + length]
    assert train.copied(f"Where it says {' '.join(span)}, answer a.") == []
    assert train.copied(f"Where it says {' '.join(words[first : first + SPAN + 1])}, answer a.")


def test_an_index_of_many_rows_is_made_once_and_asked_quickly() -> None:
    rng = Random(0)
    words = [f"w{n}" for n in range(5_000)]
    rows = [Example(f"e{at}", {"text": " ".join(rng.choices(words, k=25))}, "ab"[at % 2]) for at in range(20_000)]
    train = TrainText(rows)
    text = " ".join(rng.choices(words, k=2_000))
    started = time.process_time()
    for _ in range(10):
        assert train.copied(text) == []
    assert time.process_time() - started < 2  # 0.05 s; a look at every row takes 5


class Pasting:
    """Puts the first train rows into the prompt, each in this form."""

    name = "pasting"

    def __init__(self, form: str, count: int = 1) -> None:
        self._form, self._count = form, count
        self.complaints: list[str] = []

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        lines = [self._form.format(row.inputs["message"], row.expected) for row in brief.train[: self._count]]
        return [Draft(brief.parent.with_text("\n".join([brief.parent.text, *lines])), "pastes")]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        self.complaints += violations
        return None


def learn(folder: Path, proposer: Pasting) -> RunResult:
    return optimize(
        synthetic.SEED,
        synthetic.rows(80),
        task=synthetic.task_model(),
        inputs=["message"],
        expected="tag",
        proposers=[proposer],
        store=folder / "store.db",
        rounds=1,
        drafts=1,
    )


@pytest.mark.parametrize(("form", "refused"), [("{0} -> {1}", 1), ("A message may have the tag {1}.", 0)])
def test_a_run_refuses_a_draft_that_holds_a_train_row(tmp_path: Path, form: str, refused: int) -> None:
    result = learn(tmp_path, Pasting(form))
    assert result.candidates.proposed == 1
    assert result.candidates.rejected_by_contract == refused


def test_a_repair_is_shown_some_of_many_copies(tmp_path: Path) -> None:
    proposer = Pasting("{0} -> {1}", 25)
    assert learn(tmp_path, proposer).candidates.rejected_by_contract == 1
    assert len(proposer.complaints) == 21
    assert proposer.complaints[-1] == "copies training examples 5 times more"
