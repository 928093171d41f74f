"""GEPA and DSPy's MIPROv2 in the place of our own search: on the same splits, judges, ledger, journal and report.

    search: {optimizer: dspy:gepa}        # or dspy:miprov2

Both ask for rows and for texts, and get them from where our search gets them, so a row is a row whoever asked for it.
What they find counts as they count it: the prompt with the best mean over all validation rows takes the seed's place,
the first of equals. The test split then proves it, or it is not shipped, as with any other.

They know less than a run does. A row that could not be judged counts as 0 for them (in no mean of ours), their
candidates are checked against the contract and score 0 without being run where they break it (invariant 6), and a
budget that ends in the middle of a step ends the search there. So does what they stumble over themselves, such as a
reply that they can not read: what they have measured by then is paid for, and counts. Copies of train rows are not held
against a candidate: nothing in their searches could mend one, and a comparison would measure our rule instead of them.
The run warns of those that the prompt which it ends with contains.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from keyword import iskeyword
from statistics import fmean
from typing import Any, TypeVar

from promptlearn.config import SearchConfig
from promptlearn.contract import violations
from promptlearn.dataset import Dataset
from promptlearn.errors import BudgetSpent, ConfigError, ModelError, SystemicError
from promptlearn.evaluation import Evaluator, Row, Want
from promptlearn.models.base import Model
from promptlearn.optimizer.hush import hushed
from promptlearn.optimizer.state import Search
from promptlearn.programs.dspy_lm import lm_of, load_dspy
from promptlearn.records import Candidate, Decision, Demonstration, Example, Json, Message, Prompt, Split, as_text
from promptlearn.runlog import RunLog
from promptlearn.sections import join_sections, split_sections
from promptlearn.selection.credit import Credit
from promptlearn.train_text import TrainText

T = TypeVar("T")
ENDS = {"dspy:gepa": "metric_calls", "dspy:miprov2": "trials"}
"""What ends them where nothing goes wrong: GEPA has made all its metric calls, MIPROv2 all its trials. GEPA counts rows
that it asks for again like new ones; here they cost nothing, so that the budget may be far from spent then.
"""
LONGEST = 200
"""Characters of an error of theirs."""
WHOLE = "prompt"
"""What a prompt's text is called where it has no sections."""
MINIBATCH, FULL_EVERY = 25, 4
"""MIPROv2: validation rows of one trial, and trials between two that read all of them."""
CANDIDATES, DEMONSTRATIONS = 6, 4
"""MIPROv2: instructions and sets of demonstrations, and demonstrations in a set, as `auto="light"` has them."""
GEPA_MINIBATCH = 3
"""Rows that GEPA reflects on."""
_LEARNING: tuple[Split, ...] = ("validation", "train")
"""What they may read. A question that stands in both is asked for the sake of validation."""
_THEIRS = frozenset({"answer", "augmented", "base", "self", "signature"})
"""Names that a field of DSPy's examples or signatures can not have, or that stand for something else there."""


def bootstrapping(train: int) -> tuple[int, int]:
    """Rows that MIPROv2 reads at least and at most to find demonstrations: all but two of its sets are filled from
    right answers, the first one to the brim, and where they are rare, the whole train split is read for each.
    """
    return min(train, DEMONSTRATIONS + CANDIDATES - 3), train * (CANDIDATES - 2)


class Over(BaseException):
    """Ends another optimizer at once. No `Exception`, because those they swallow, and go on without rows."""


@dataclass(frozen=True, slots=True)
class Task:
    """What an optimizer gets."""

    seed: Prompt
    dataset: Dataset
    evaluator: Evaluator
    meta: Model
    log: RunLog
    settings: SearchConfig
    calls: int
    """Task calls that it may make."""
    sections: tuple[str, ...] = (WHOLE,)
    """What the learned text is taken apart into."""
    demonstrations: bool = True
    """Whether the program shows demonstrations."""


@dataclass(slots=True)
class Desk:
    """Where another optimizer's threads get rows and texts from; it notes what they asked for."""

    task: Task
    loop: asyncio.AbstractEventLoop
    prompts: dict[str, Prompt] = field(default_factory=dict)
    """Prompts in the order in which they were first asked about."""
    scores: dict[Split, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)
    """Digests of prompts that break the contract, and how."""
    asked: int = 0
    """Rows, those that were asked for again among them."""
    error: Exception | None = None
    """What ends the search, or the run; nothing is begun after it."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the run's event loop, from a thread."""
        if self.error is not None:
            work.close()
            raise self.error
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop).result()
        except Exception as error:
            self.error = self.error or error
            raise

    def go_on(self) -> None:
        """Raise `Over` where nothing can be begun any more. Call it where no row of theirs is under way."""
        if self.error is not None:
            raise Over

    def rows(self, prompt: Prompt, examples: Sequence[Example], split: Split) -> list[Row] | None:
        """The prompt on these examples; None where it breaks the contract, and so is not run."""
        if prompt.digest not in self.broken:
            self.broken[prompt.digest] = violations(prompt, self.task.seed)
        self.prompts.setdefault(prompt.digest, prompt)
        if self.broken[prompt.digest]:
            return None
        return self.wait(self._read(prompt, examples, split))

    async def _read(self, prompt: Prompt, examples: Sequence[Example], split: Split) -> list[Row]:
        """Read rows, in the run's event loop; says so when a prompt has been read on every validation row."""
        rows = await self.task.evaluator.rows([Want(prompt, example, split) for example in examples])
        self.asked += len(rows)
        known = self.scores.setdefault(split, {}).setdefault(prompt.digest, {})
        before = len(known)
        known.update({row.example.id: row.score for row in rows})
        if split == "validation" and before < len(known) == len(self.task.dataset.validation):
            scores = [score for score in known.values() if score is not None]
            says = f"scores {fmean(scores):.3f}" if scores else "has no score"
            message = f"{prompt.digest[:8]} {says} on {len(scores)} validation rows; {self.asked} rows asked for so far"
            self.task.log.show("measured", message=message)
        return rows

    def write(self, text: str) -> str:
        """What the meta model makes of a request; a reply that was cut off is none."""
        try:
            reply = self.wait(self.task.meta.complete((Message("user", text),)))
        except SystemicError:
            raise
        except ModelError:  # this reply's own trouble, as with our proposers: the search goes on without it
            self.error = None
            return ""
        return "" if reply.finish_reason == "length" else reply.text

    def prompt(self, texts: Mapping[str, str]) -> Prompt:
        """The seed with other texts in its sections."""
        known = split_sections(self.task.seed.text, self.task.sections)
        return self.task.seed.with_text(join_sections({**known, **texts}))

    def best(self) -> tuple[Prompt, float] | None:
        """The best prompt of those that were asked about every validation row, and its mean.

        A row that a prompt failed on counts as lost, unless none of them has a score on it: no prompt is the best by
        failing where it is hard (as in `proof`). A prompt without any score is none of them.
        """
        wanted = {example.id for example in self.task.dataset.validation}
        known = {digest: scores for digest, scores in self.scores.get("validation", {}).items() if _judged(scores)}
        complete = {digest: scores for digest, scores in known.items() if wanted <= scores.keys()}
        rows = set().union(*(_judged(scores) for scores in known.values()))
        if not complete:
            return None
        means = {digest: sum(scores.get(row) or 0.0 for row in rows) / len(rows) for digest, scores in complete.items()}
        digest = max(means, key=lambda one: means[one])  # the first of equals: they were asked about in that order
        return self.prompts[digest], means[digest]


def _judged(scores: Mapping[str, float | None]) -> set[str]:
    """Rows that have a score."""
    return {row for row, score in scores.items() if score is not None}


async def learn_with(name: str, task: Task) -> Search:
    """Let `dspy:gepa` or `dspy:miprov2` search until its budget is spent. Raises what else ends a run."""
    baseline = Candidate(task.seed, parents=(), proposer="baseline")
    search = Search(baseline, {baseline.digest: baseline}, Credit([]), seen={baseline.digest})
    await task.log.candidate(baseline)
    desk = Desk(task, asyncio.get_running_loop())
    run = {"dspy:gepa": _gepa, "dspy:miprov2": _miprov2}[name]
    broke: Exception | None = None
    await asyncio.to_thread(load_dspy)  # which sets up its own logging
    try:
        await asyncio.to_thread(_quietly, run, desk)
    except Over:
        pass
    except ConfigError:
        raise
    except Exception as error:  # theirs too: they may wrap what ended the search, or fail over it
        broke = error
    if isinstance(desk.error, BudgetSpent):
        await task.log.event("budget", message=str(desk.error))
    elif desk.error is not None:
        raise desk.error from None
    elif broke is not None:
        search.warnings.append(f"{name} broke off, and what it had measured by then counts: {_in_a_line(broke)}")
        await task.log.event("optimizer_failed", message=search.warnings[-1])
    search.stop_reason = "budget" if desk.error else "optimizer_failed" if broke else ENDS[name]
    await _take_over(name, desk, search)
    return search


async def _take_over(name: str, desk: Desk, search: Search) -> None:
    """Write down what the optimizer tried, and put its best into the incumbent's place."""
    seed, best = desk.task.seed, desk.best()
    search.scores = {split: dict(found) for split, found in desk.scores.items()}
    read = {digest for found in desk.scores.values() for digest in found}
    for prompt in desk.prompts.values():
        if prompt.digest == seed.digest or not (desk.broken[prompt.digest] or prompt.digest in read):
            continue
        candidate = Candidate(prompt, (seed.digest,), name, "")
        search.pool[candidate.digest] = candidate
        search.seen.add(candidate.digest)
        search.tally.proposed += 1
        await desk.task.log.candidate(candidate)
        decision = _decision(name, desk, candidate, best)
        search.tally.rejected_by_contract += decision.stage == "contract"
        search.tally.raced += decision.stage == "race"
        search.tally.gated_out += decision.stage == "gate"
        search.tally.unread += decision.stage == "gate"
        await desk.task.log.decision(decision)
        if decision.outcome == "accepted":
            search.incumbent = candidate
            search.tally.accepted += 1
            search.warnings += _copying(name, desk.task, prompt)


def _copying(name: str, task: Task, prompt: Prompt) -> list[str]:
    """What is to be said of a prompt that repeats the train split outside of its demonstrations."""
    spans = TrainText(task.dataset.train).copied_by(prompt, task.seed)
    if not spans:
        return []
    times = "once" if len(spans) == 1 else f"{len(spans)} times"
    return [
        f"the prompt that {name} found copies train rows {times}, such as “{spans[0]}”; our own search refuses that"
    ]


def _decision(name: str, desk: Desk, candidate: Candidate, best: tuple[Prompt, float] | None) -> Decision:
    """What became of a candidate, by their rules: no race, a mean over validation rows."""
    seed = desk.task.seed
    if desk.broken[candidate.digest]:
        return Decision(candidate.digest, seed.digest, "contract", "rejected", "; ".join(desk.broken[candidate.digest]))
    validation = desk.scores.get("validation", {})
    mine, old = validation.get(candidate.digest, {}), validation.get(seed.digest, {})
    pairs = [
        (score, before) for one, score in mine.items() if score is not None and (before := old.get(one)) is not None
    ]
    difference = sum(new - before for new, before in pairs) / len(pairs) if pairs else None
    if len(mine) < len(desk.task.dataset.validation):
        reason = f"{name} did not read it on every validation row"
        return Decision(candidate.digest, seed.digest, "gate", "rejected", reason, len(pairs), difference)
    chosen = best is not None and best[0].digest == candidate.digest
    reason = f"{name}: the best mean on validation" if chosen else f"{name}: not the best mean on validation"
    outcome: Any = "accepted" if chosen else "rejected"
    return Decision(candidate.digest, seed.digest, "race", outcome, reason, len(pairs), difference)


def _quietly(run: Any, desk: Desk) -> None:
    """They print to stdout, where results stand, draw bars, and DSPy logs every row that a spent budget refuses."""
    with hushed("dspy"):
        run(desk)


def _in_a_line(error: Exception) -> str:
    """An error of theirs; they may add whole replies to what went wrong."""
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line if len(line) <= LONGEST else line[: LONGEST - 1] + '…'}"


def words(row: Row) -> str:
    """What the judges said about a row."""
    said = [part for verdict in row.verdicts for part in (verdict.explanation, verdict.suggestion) if part]
    return "\n".join(said) or row.trouble or "nothing was said about it"


def _gepa(desk: Desk) -> None:
    try:
        optimize = importlib.import_module("gepa").optimize
    except ModuleNotFoundError:
        raise ConfigError("dspy:gepa needs GEPA: pip install 'promptlearn-optimizer[dspy]'") from None
    task = desk.task
    optimize(
        seed_candidate=split_sections(task.seed.text, task.sections),
        trainset=list(task.dataset.train),
        valset=list(task.dataset.validation),
        adapter=_GepaAdapter(desk),
        reflection_lm=lambda asked: desk.write(asked if isinstance(asked, str) else _flat(asked)),
        max_metric_calls=task.calls,
        seed=task.settings.seed,
        logger=_Silent(),
    )


class _Silent:
    def log(self, message: str) -> None:
        """What there is to say is in the run's own log."""


class _GepaAdapter:
    """Rows for GEPA; candidates are the texts of the sections."""

    propose_new_texts = None

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._validation = {example.id for example in desk.task.dataset.validation}

    def evaluate(self, batch: Sequence[Example], candidate: Mapping[str, str], capture_traces: bool = False) -> Any:
        prompt = self._desk.prompt(candidate)
        split: Split = "validation" if batch and batch[0].id in self._validation else "train"
        rows = self._desk.rows(prompt, batch, split)
        broken = "; ".join(self._desk.broken[prompt.digest])
        scores = [0.0] * len(batch) if rows is None else [row.score or 0.0 for row in rows]
        shown: list[dict[str, Json]] = [
            {
                "Inputs": dict(example.inputs),
                "Generated Outputs": "" if rows is None else rows[at].rollout.output,
                "Feedback": f"not run: {broken}" if rows is None else words(rows[at]),
            }
            for at, example in enumerate(batch)
        ]
        result = importlib.import_module("gepa.core.adapter").EvaluationBatch
        return result(outputs=shown, scores=scores, trajectories=shown if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: Mapping[str, str], eval_batch: Any, components_to_update: Sequence[str]
    ) -> dict[str, list[Any]]:
        return {component: list(eval_batch.trajectories) for component in components_to_update}


def _miprov2(desk: Desk) -> None:
    dspy, task = load_dspy(), desk.task
    try:
        importlib.import_module("optuna")
    except ModuleNotFoundError:
        raise ConfigError("dspy:miprov2 needs Optuna: pip install 'promptlearn-optimizer[dspy]'") from None
    student = _student(dspy, desk)
    lm, engine = lm_of(_Listening(desk))
    engine.loop = desk.loop
    demonstrations = DEMONSTRATIONS if task.demonstrations else 0
    validation, fields = task.dataset.validation, field_names(task.dataset.variables)
    optimizer = dspy.MIPROv2(
        metric=lambda gold, pred, trace=None: pred.score,
        prompt_model=lm,
        task_model=lm,
        auto=None,
        num_candidates=CANDIDATES,
        max_bootstrapped_demos=demonstrations,
        max_labeled_demos=demonstrations,
        num_threads=min(task.evaluator.width, 16),
        max_errors=sys.maxsize,  # the run itself says how many are too many
        seed=task.settings.seed,
    )
    with dspy.context(lm=lm):
        optimizer.compile(
            student,
            trainset=_golds(dspy, task.dataset.train, fields),
            valset=_golds(dspy, validation, fields),
            num_trials=_trials(task.calls, len(validation)),
            minibatch=len(validation) > MINIBATCH,
            minibatch_size=min(MINIBATCH, len(validation)),
            minibatch_full_eval_steps=FULL_EVERY,
            program_aware_proposer=False,
        )


def _trials(calls: int, validation: int) -> int:
    """Trials that the budget allows for, if finding demonstrations took nothing; those beyond it score 0."""
    each = validation if validation <= MINIBATCH else MINIBATCH + validation / FULL_EVERY
    return max(1, int((calls - validation) / each))


class _Listening:
    """The meta model, through the desk, so that what ends the run is noticed."""

    def __init__(self, desk: Desk) -> None:
        self._inner = desk.task.meta
        self._desk = desk
        self.name, self.identity = self._inner.name, self._inner.identity
        self.sampling, self.price = self._inner.sampling, self._inner.price

    async def complete(self, *asked: Any, **how: Any) -> Any:
        if self._desk.error is not None:
            raise self._desk.error
        try:
            return await self._inner.complete(*asked, **how)
        except Exception as error:
            if isinstance(error, SystemicError) or not isinstance(error, ModelError):
                self._desk.error = self._desk.error or error
            raise

    async def close(self) -> None:
        """It is the run's."""


def _student(dspy: Any, desk: Desk) -> Any:
    """A DSPy program with a predictor per section, which answers with rows of the run."""
    names = desk.task.sections
    texts = split_sections(desk.task.seed.text, names)
    fields = field_names(desk.task.dataset.variables)
    inputs = ", ".join(fields.values())
    asked = {split: _by_question(desk.task.dataset.split(split)) for split in _LEARNING}

    class Student(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.steps = [dspy.Predict(dspy.Signature(f"{inputs} -> answer", texts[name])) for name in names]

        def deepcopy(self) -> Any:
            desk.go_on()  # with which every trial begins
            return super().deepcopy()

        def forward(self, **given: Any) -> Any:
            question = question_of({column: given[field] for column, field in fields.items() if field in given})
            split = next(split for split in _LEARNING if question in asked[split])
            prompt = desk.prompt({name: s.signature.instructions for name, s in zip(names, self.steps, strict=True)})
            demos = tuple(demonstration(demo, fields, asked) for demo in self.steps[-1].demos)
            prompt = replace(prompt, demonstrations=demos or prompt.demonstrations)
            rows = desk.rows(prompt, asked[split][question], split)
            scores = [row.score for row in rows or () if row.score is not None]
            if rows is not None and not scores:
                raise ValueError(rows[0].trouble)
            output, score = ("", 0.0) if rows is None else (rows[0].rollout.output, fmean(scores))
            if dspy.settings.trace is not None:
                dspy.settings.trace.append((self.steps[-1], given, dspy.Prediction(answer=output)))
            return dspy.Prediction(answer=output, score=score)

    return Student()


def field_names(columns: Sequence[str]) -> dict[str, str]:
    """Column → what DSPy can call it: its own name, unless that is none in Python, or one of DSPy's."""
    taken = {name for name in columns if _can_be_field(name)}
    free = (name for number in count(1) if (name := f"input_{number}") not in taken)
    return {name: name if name in taken else next(free) for name in columns}


def _can_be_field(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name) and not name.startswith("_") and name not in _THEIRS


def _by_question(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Rows by what they ask; a table may ask the same twice, and DSPy tells rows apart by that alone."""
    found: dict[str, list[Example]] = {}
    for one in examples:
        found.setdefault(question_of(one.inputs), []).append(one)
    return found


def demonstration(
    demo: Any, fields: Mapping[str, str], asked: Mapping[Split, Mapping[str, Sequence[Example]]]
) -> Demonstration:
    """DSPy's demonstration as ours, with the example that it was taken from."""
    inputs = {column: demo[field] for column, field in fields.items() if field in demo}
    question = question_of(inputs)
    source = next((rows[question][0].id for rows in asked.values() if question in rows), "")
    return Demonstration(inputs, as_text(demo["answer"]), source)


def _golds(dspy: Any, examples: Sequence[Example], fields: Mapping[str, str]) -> list[Any]:
    return [
        dspy.Example(
            **{fields[column]: value for column, value in example.inputs.items()}, answer=as_text(example.expected)
        ).with_inputs(*(fields[column] for column in example.inputs))
        for example in examples
    ]


def question_of(inputs: Mapping[str, Json]) -> str:
    return repr(sorted(inputs.items()))


def _flat(messages: Any) -> str:
    """Chat messages as one text; parts that are no text are left out."""
    return "\n\n".join(str(message["content"]) for message in messages)
