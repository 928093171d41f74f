"""A DSPy program as what runs a prompt.

    program: {dspy: "pipeline.py:make_program"}

The prompt stands in for the instructions of its predictors: the learned text is those of a single predictor; several
have a heading each (`promptlearn/sections.py`). A rule goes to the predictor that it was learned for, demonstrations to
the last one, which gives the answer.

To the run a program is its task model, as a command is: asked with a prompt and an example, it answers with its outcome
as JSON. So the journal keeps outcomes, and the ledger counts runs of the program, whatever number of calls each makes
(their tokens are counted). A rollout's `output` is the program's answer field; `evidence.fields` has every field,
`evidence.steps` what each predictor made of what it was given (`dspy_trace.py`), and turns say the same in words. A
reply that DSPy's adapter can not read is an output like any other, for judges to judge; `evidence.unreadable` says why.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.util
import inspect
import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptlearn.errors import ConfigError, ModelError, PromptError, SystemicError
from promptlearn.models.base import Model, ModelBase, Price, Reply, Sampling
from promptlearn.programs.dspy_lm import ModelEngine, counting, describe_lm, error_of, lm_of, load_dspy
from promptlearn.programs.dspy_trace import Passed, passed_of, plain_fields, steps_of
from promptlearn.records import (
    Demonstration,
    Example,
    Failure,
    Json,
    Message,
    Prompt,
    Rollout,
    Turn,
    Usage,
    fingerprint,
)
from promptlearn.sections import heading, join_sections, split_sections

FORM = 2
"""Raised whenever the same program would get something else than before, or its outcome is written differently."""
THREADS = 64
"""Runs of a program at the same time, at most; each has a thread."""
_KEPT = 128
"""Programs that stand ready with a prompt in them."""


class DspyProgram:
    """A program that is ready to be run: what it is, and the model and program that a run makes of it."""

    def __init__(
        self,
        module: Any,
        asks: Any,
        *,
        name: str = "",
        answer: str | None = None,
        source: str = "",
    ) -> None:
        """`asks` is one of our models or a `dspy.LM`; None for a program that is not run. `answer` is the output field
        that judges see; by default the last one of the last predictor. `source` is the code that the program is made
        of, where that is known.

        Raises ConfigError for a program without predictors, and for predictors with language models of their own, as
        nobody counts what these spend.
        """
        dspy = load_dspy()
        if not isinstance(module, dspy.Module):
            raise ConfigError(f"{name or module!r} is no dspy.Module; give one, or a function that returns one")
        self.module = module
        self.name = f"dspy/{name or type(module).__name__}"
        self.predictors = tuple(name for name, _ in module.named_predictors())
        if not self.predictors:
            raise ConfigError(f"{self.name} has no predictors, so it has no instructions to learn")
        for own, predictor in module.named_predictors():
            if predictor.lm is not None:
                raise ConfigError(
                    f"{self.name}: {own} has an LM of its own; leave `lm` to promptlearn, which counts it"
                )
        last = module.named_predictors()[-1][1]
        self._inputs = tuple(last.signature.input_fields)
        self.answer = answer or next(reversed(last.signature.output_fields))
        self.outputs = tuple(last.signature.output_fields)
        state = fingerprint(_state(module), 32)
        self.identity = f"dspy/{fingerprint([FORM, dspy.__version__, state, source, self.answer], 32)}"
        self.model = DspyModel(self, asks)

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    @property
    def takes_demonstrations(self) -> bool:
        """Whether an example's inputs are what the last predictor is asked with."""
        return len(self.predictors) == 1 and self.answer in self.outputs

    def prompt(self) -> Prompt:
        """The instructions that the program has now, to start from."""
        found = {name: predictor.signature.instructions for name, predictor in self.module.named_predictors()}
        return self.bind(Prompt.of(join_sections(found)))

    def bind(self, prompt: Prompt) -> Prompt:
        """A prompt whose contract locks the headings. Raises PromptError for one without the right headings."""
        split_sections(prompt.text, self.predictors)
        headings = [heading(name) for name in self.predictors] if len(self.predictors) > 1 else []
        locked = tuple(dict.fromkeys((*prompt.contract.locked, *headings)))
        return replace(prompt, contract=replace(prompt.contract, locked=locked))

    def with_prompt(self, prompt: Prompt) -> Any:
        """A copy of the program that has learned `prompt`. Raises PromptError where a heading is missing."""
        return self._module(self.said(prompt))

    def open(self, model: Model) -> _Opened:
        """The program that asks `model`: `self.model`, with whatever a run has put around it."""
        return _Opened(self, model)

    def said(self, prompt: Prompt) -> dict[str, Json]:
        """A prompt as the model is asked with it: instructions and demonstrations, without where they came from."""
        as_turns = prompt.layout.demonstrations == "turns" and self.takes_demonstrations
        shown = prompt if not as_turns else replace(prompt, demonstrations=())
        sections = split_sections(shown.learned_text(), self.predictors)
        demos = [self._demo(demo) for demo in prompt.demonstrations] if as_turns else []
        return {"instructions": sections, "demos": demos}

    def passed(self, rollout: Rollout) -> Passed:
        """What a rollout of the program left behind, whatever process ran it."""
        return passed_of(self.module, rollout.evidence)

    def _demo(self, demo: Demonstration) -> dict[str, Json]:
        """A demonstration by field. Several outputs are written as a JSON object; a single one is the answer."""
        inputs = {name: value for name, value in demo.inputs.items() if name in self._inputs}
        outputs = _fields(demo.output, self.outputs) or {self.answer: demo.output}
        return {"inputs": inputs, "outputs": outputs}

    def _module(self, said: Mapping[str, Any]) -> Any:
        dspy = load_dspy()
        module = self.module.deepcopy()
        predictors = dict(module.named_predictors())
        for name, text in said["instructions"].items():
            predictors[name].signature = predictors[name].signature.with_instructions(text)
        if said["demos"]:
            predictors[self.predictors[-1]].demos = [
                dspy.Example(**demo["inputs"], **demo["outputs"]).with_inputs(*demo["inputs"]) for demo in said["demos"]
            ]
        return module


class _Opened:
    """Puts the prompt and the example before the program, and reads its outcome as a rollout."""

    name = "dspy"

    def __init__(self, source: DspyProgram, model: Model) -> None:
        self._source = source
        self._model = model

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        asked = {"id": example.id, "inputs": dict(example.inputs)}
        try:
            messages = (Message("system", _dumped(self._source.said(prompt))), Message("user", _dumped(asked)))
            reply = await self._model.complete(messages)
        except SystemicError:
            raise
        except ModelError as error:
            return Rollout(prompt.digest, example.id, error=Failure(error.kind, str(error)))
        except PromptError as error:  # this candidate is no prompt of the program; another may be
            return Rollout(prompt.digest, example.id, error=Failure("program", str(error)))
        said = json.loads(reply.text)
        return Rollout(
            prompt=prompt.digest,
            example=example.id,
            output=said["output"],
            turns=tuple(_turn(step) for step in said["steps"]),
            stop_reason=reply.finish_reason,
            usage=reply.usage,
            seconds=reply.seconds,
            evidence={key: said[key] for key in ("fields", "unreadable", "steps") if key in said},
        )


def _turn(step: Mapping[str, Any]) -> Turn:
    name = step["predictor"]
    return Turn("assistant", f"{name or 'predictor'}: {_dumped(step['outputs'])}", prompt=name)


class DspyModel(ModelBase):
    """The program as a model: prompt and example in, outcome out, both as JSON."""

    counts_itself = True
    """Its usage is what its calls reported; nothing is estimated from the size of questions and answers."""

    def __init__(self, source: DspyProgram, asks: Any) -> None:
        self._engine: ModelEngine | None = None
        sampling, price, self.in_process = Sampling(max_tokens=1), None, False
        if isinstance(asks, Model):
            self._lm, self._engine = lm_of(asks)
            asked: Json = [asks.identity, repr(asks.sampling)]
            self.in_process = bool(getattr(asks, "in_process", False))
        else:
            self._lm = asks
            asked = describe_lm(asks)
        super().__init__(source.name, f"{source.identity}/{fingerprint(asked)}", sampling, price)
        self.examples: dict[str, Any] = {}
        """Example id → the `dspy.Example` that it was made of, where inputs are more than JSON."""
        self._source = source
        self._asks = asks
        self._modules: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dspy")

    @property
    def price(self) -> Price | None:
        """Free where the model that it asks is, else unknown: nobody knows beforehand how often it asks."""
        inner = self._asks.price if isinstance(self._asks, Model) else None
        return inner if inner == Price(0.0, 0.0) else None

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """One run of the program. Raises ModelError, also for whatever the program itself raised."""
        loop = asyncio.get_running_loop()
        if self._engine is not None:
            self._engine.loop = loop
        context = copy_context()
        return await loop.run_in_executor(self._threads, lambda: context.run(self._run, messages))

    async def close(self) -> None:
        if isinstance(self._asks, Model):
            await self._asks.close()

    def _run(self, messages: Sequence[Message]) -> Reply:
        dspy = load_dspy()
        module, asked = self._module(messages[0].content), json.loads(messages[1].content)
        given = self.examples.get(asked["id"])
        inputs = asked["inputs"] if given is None else dict(given.inputs().items())
        started = time.monotonic()
        with counting() as spent, dspy.context(lm=self._lm, trace=[]), dspy.track_usage() as tracker:
            try:
                prediction, unreadable = module(**inputs), None
            except dspy.utils.exceptions.AdapterParseError as error:
                prediction, unreadable = None, error
            except Exception as error:
                raise (spent.error or error_of(error, self.name)) from None
            trace = list(dspy.settings.trace)
        usage = replace(spent.usage, calls=1, cached_calls=0) if self._engine else _tracked(tracker)
        outcome = self._outcome(prediction, unreadable, steps_of(module, trace))
        text = json.dumps(outcome, ensure_ascii=False)  # fields in the program's own order
        return Reply(text, "stop", usage, seconds=time.monotonic() - started)

    def _outcome(self, prediction: Any, unreadable: Any, steps: Sequence[Json]) -> dict[str, Json]:
        if unreadable is not None:
            said = " ".join(str(unreadable).split())
            return {"output": str(unreadable.lm_response), "steps": steps, "unreadable": said}
        if not isinstance(prediction, load_dspy().Prediction):
            raise ModelError("program", f"{self.name} returned {type(prediction).__name__}, not a dspy.Prediction")
        fields = plain_fields(prediction)
        answer = self._source.answer
        if answer not in fields:
            possible = ", ".join(fields) or "nothing"
            raise SystemicError(
                "not_found", f"{self.name} gives no field {answer!r}; possible: {possible}; set program.answer"
            )
        shown = fields[answer]
        return {"output": shown if isinstance(shown, str) else _dumped(shown), "steps": steps, "fields": fields}

    def _module(self, said: str) -> Any:
        with self._lock:
            if said not in self._modules:
                while len(self._modules) >= _KEPT:
                    del self._modules[next(iter(self._modules))]
                self._modules[said] = self._source._module(json.loads(said))
            return self._modules[said]


def open_dspy(use: str, asks: Any, folder: Path, *, answer: str | None = None) -> DspyProgram:
    """The program that `module:function` or `path.py:function` names: a `dspy.Module`, or a function that makes one.

    Relative paths and modules start at `folder`. Raises ConfigError for what can not be found or loaded.
    """
    load_dspy()
    where, _, name = use.rpartition(":")
    if not where or not name:
        raise ConfigError(f"program.dspy: {use!r} is not `module:function` or `path.py:function`")
    loaded = _load(where, folder)
    found = getattr(loaded, name, None)
    if found is None:
        raise ConfigError(f"program.dspy: {where} has no {name!r}")
    made = found() if inspect.isclass(found) or inspect.isfunction(found) else found
    source = Path(loaded.__file__).read_bytes() if loaded.__file__ else b""
    return DspyProgram(made, asks, name=name, answer=answer, source=hashlib.sha256(source).hexdigest())


def _load(where: str, folder: Path) -> Any:
    try:
        if not where.endswith(".py"):
            if str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
            return importlib.import_module(where)
        path = folder / where
        spec = importlib.util.spec_from_file_location(f"promptlearn_program_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise ConfigError(f"program.dspy: there is no file {path}")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        spec.loader.exec_module(loaded)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"program.dspy: {where} can not be loaded: {type(error).__name__}: {error}") from None
    return loaded


def _state(module: Any) -> Json:
    """What a program is, beside its code: signatures, demonstrations and settings of its predictors."""
    return [
        [name, str(predictor.signature), repr(sorted(predictor.config.items())), repr(predictor.demos)]
        for name, predictor in module.named_predictors()
    ]


def _tracked(tracker: Any) -> Usage:
    """What DSPy counted; one call is one run of the program."""
    totals = tracker.get_total_tokens().values()
    read = sum(total.get("prompt_tokens") or 0 for total in totals)
    written = sum(total.get("completion_tokens") or 0 for total in totals)
    return Usage(calls=1, input_tokens=read, output_tokens=written, cost_usd=None)


def _fields(text: str, names: Sequence[str]) -> dict[str, Json]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found and set(found) <= set(names) else {}


def _dumped(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
