"""Judging: what a rollout is worth, in words and as a score.

`open_judge` makes a judge from the name in a configuration; `Panel` asks several and makes one score of their verdicts.
"""

from promptlearn.judging.asset import JudgeFile, load_judge_file
from promptlearn.judging.base import Judge, Questioner, Stochastic
from promptlearn.judging.callable import Callable
from promptlearn.judging.checks import ChecksExamples, check_examples
from promptlearn.judging.criterion import NOT_APPLICABLE, RuleCheck, open_criterion
from promptlearn.judging.json_schema import JsonSchema
from promptlearn.judging.labels import LabelSet
from promptlearn.judging.llm import LLMJudge, LLMOptions
from promptlearn.judging.matching import Contains, ExactMatch, NormalizedMatch, Regex
from promptlearn.judging.normal import normalise
from promptlearn.judging.numeric import Numeric
from promptlearn.judging.opening import CODE_JUDGES, EVIDENCE_JUDGES, judge_needs_model, open_judge
from promptlearn.judging.outcome import DiffContains, DiffTouches, ExitCode, TestsPassed
from promptlearn.judging.panel import Member, Panel, When
from promptlearn.judging.relative import RelativeJudge

__all__ = [
    "CODE_JUDGES",
    "EVIDENCE_JUDGES",
    "NOT_APPLICABLE",
    "Callable",
    "ChecksExamples",
    "Contains",
    "DiffContains",
    "DiffTouches",
    "ExactMatch",
    "ExitCode",
    "JsonSchema",
    "Judge",
    "JudgeFile",
    "LLMJudge",
    "LLMOptions",
    "LabelSet",
    "Member",
    "NormalizedMatch",
    "Numeric",
    "Panel",
    "Questioner",
    "Regex",
    "RelativeJudge",
    "RuleCheck",
    "Stochastic",
    "TestsPassed",
    "When",
    "check_examples",
    "judge_needs_model",
    "load_judge_file",
    "normalise",
    "open_criterion",
    "open_judge",
]
