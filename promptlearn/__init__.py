"""Learn a better system prompt from what judges and reviewers say, and prove it on held-out examples.

    import promptlearn

    result = promptlearn.optimize(
        "Classify the message.", "tickets.csv", inputs=["message"], expected="label", task="openai/gpt-5-mini"
    )
    print(result.decision, result.delta.score, result.prompt.learned_text())

Names are imported when they are first used, so that `import promptlearn` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from promptlearn.api import aevaluate as aevaluate
    from promptlearn.api import aoptimize as aoptimize
    from promptlearn.api import evaluate as evaluate
    from promptlearn.api import optimize as optimize
    from promptlearn.dataset import Dataset as Dataset
    from promptlearn.dataset import load_dataset as load_dataset
    from promptlearn.errors import PromptlearnError as PromptlearnError
    from promptlearn.job import Evaluation as Evaluation
    from promptlearn.job import JudgeSpec as JudgeSpec
    from promptlearn.judging import Contains as Contains
    from promptlearn.judging import ExactMatch as ExactMatch
    from promptlearn.judging import JsonSchema as JsonSchema
    from promptlearn.judging import Judge as Judge
    from promptlearn.judging import LabelSet as LabelSet
    from promptlearn.judging import NormalizedMatch as NormalizedMatch
    from promptlearn.judging import Numeric as Numeric
    from promptlearn.judging import Regex as Regex
    from promptlearn.ledger import Budget as Budget
    from promptlearn.limits import Limits as Limits
    from promptlearn.models import open_model as open_model
    from promptlearn.models.base import Model as Model
    from promptlearn.models.base import Price as Price
    from promptlearn.models.base import Reply as Reply
    from promptlearn.models.base import Sampling as Sampling
    from promptlearn.models.scripted import ScriptedModel as ScriptedModel
    from promptlearn.prompt import PromptFile as PromptFile
    from promptlearn.prompt import read_prompt as read_prompt
    from promptlearn.records import Contract as Contract
    from promptlearn.records import Demonstration as Demonstration
    from promptlearn.records import Example as Example
    from promptlearn.records import Message as Message
    from promptlearn.records import Prompt as Prompt
    from promptlearn.records import Review as Review
    from promptlearn.records import Rollout as Rollout
    from promptlearn.records import Rule as Rule
    from promptlearn.records import Verdict as Verdict
    from promptlearn.result import RunResult as RunResult
    from promptlearn.reviews import load_reviews as load_reviews

_HOMES = {
    "promptlearn.api": ("aevaluate", "aoptimize", "evaluate", "optimize"),
    "promptlearn.dataset": ("Dataset", "load_dataset"),
    "promptlearn.errors": ("PromptlearnError",),
    "promptlearn.job": ("Evaluation", "JudgeSpec"),
    "promptlearn.judging": (
        "Contains",
        "ExactMatch",
        "JsonSchema",
        "Judge",
        "LabelSet",
        "NormalizedMatch",
        "Numeric",
        "Regex",
    ),
    "promptlearn.ledger": ("Budget",),
    "promptlearn.limits": ("Limits",),
    "promptlearn.models": ("open_model",),
    "promptlearn.models.base": ("Model", "Price", "Reply", "Sampling"),
    "promptlearn.models.scripted": ("ScriptedModel",),
    "promptlearn.prompt": ("PromptFile", "read_prompt"),
    "promptlearn.records": (
        "Contract",
        "Demonstration",
        "Example",
        "Message",
        "Prompt",
        "Review",
        "Rollout",
        "Rule",
        "Verdict",
    ),
    "promptlearn.result": ("RunResult",),
    "promptlearn.reviews": ("load_reviews",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'promptlearn' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
