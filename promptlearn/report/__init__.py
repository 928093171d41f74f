"""What happened in runs: read-only questions to the store, plain frozen records out. One file per view.

For the CLI, the dashboard and handouts. Imports no model, judge or stage that runs, and nothing of SQLAlchemy: it asks
`store.reader` and `store.views` and puts the answers together. What may be many comes in pages. A *version* names one
prompt of a run: `baseline`, `best`, a candidate's number, or the beginning of a digest.

    list_runs(store)                                     every run, the newest first
    overview(store, run)                                 score per decision, budget, speed, what it does now
    events(store, run, after)                            what is new, for views that follow a run
    family(store, run)                                   prompts and parents as a graph
    prompt, diff, side_by_side, parts                    texts, what changed, rules with their origin and worth
    matrix, example_detail                               examples by versions, and one example with all its words
    failure_modes, critiques                             how a prompt fails, and which rule answered that
    judges, judge_labels, disagreements, judge_errors    judges beside each other and beside people
    examinations, examination_history, human_labels      how judges stood their examinations
    remarks, remark_history                              comments on pull requests and what became of them
    tradeoffs                                            prompts by several objectives, and their front
    compare_runs                                         runs on the same examples, and what each score cost
    tuning, tuning_samples                               training
    setup                                                models, and whether their keys are here
    requests                                             what people asked of runs
"""

from promptlearn.report.bands import Band
from promptlearn.report.comparing import Arm, BreakEven, Comparison, CostPoint, Pair, compare_runs, cost_curve
from promptlearn.report.earnings import Earnings, earnings
from promptlearn.report.examinations import Examined, examination_history, examinations, human_labels
from promptlearn.report.examples import ExampleReport, examples
from promptlearn.report.failures import Critique, FailureReport, ModeReport, critiques, failure_modes
from promptlearn.report.family import Edge, Family, Node, family
from promptlearn.report.judges import (
    JudgeLabels,
    JudgeOnVersion,
    JudgeReport,
    disagreements,
    judge_errors,
    judge_labels,
    judges,
)
from promptlearn.report.learned import Origin, Part, parts, sources_in_words
from promptlearn.report.live import events, requests
from promptlearn.report.matrix import Attempt, Cell, ExampleDetail, Matrix, MatrixRow, example_detail, matrix
from promptlearn.report.names import Version, find_version, locate, run_config
from promptlearn.report.overview import BudgetLine, Overview, ScorePoint, overview, score_points
from promptlearn.report.prompts import as_document, diff, prompt, unified_diff
from promptlearn.report.remarks import Outcome, Remark, Remarks, remark_history, remarks
from promptlearn.report.run import CandidateReport, RunReport, lineage, load_run
from promptlearn.report.runs import RunSummary, list_runs
from promptlearn.report.settings import ModelReport, Setup, setup
from promptlearn.report.sides import SideLine, side_by_side, sides
from promptlearn.report.specialists import KindOfRow, Specialists
from promptlearn.report.tradeoffs import Figure, Standing, Tradeoffs, lead_of, tradeoffs
from promptlearn.report.training import TuningReport, tuning, tuning_samples
from promptlearn.store.judge_rows import SCORE

__all__ = [
    "SCORE",
    "Arm",
    "Attempt",
    "Band",
    "BreakEven",
    "BudgetLine",
    "CandidateReport",
    "Cell",
    "Comparison",
    "CostPoint",
    "Critique",
    "Earnings",
    "Edge",
    "Examined",
    "ExampleDetail",
    "ExampleReport",
    "FailureReport",
    "Family",
    "Figure",
    "JudgeLabels",
    "JudgeOnVersion",
    "JudgeReport",
    "KindOfRow",
    "Matrix",
    "MatrixRow",
    "ModeReport",
    "ModelReport",
    "Node",
    "Origin",
    "Outcome",
    "Overview",
    "Pair",
    "Part",
    "Remark",
    "Remarks",
    "RunReport",
    "RunSummary",
    "ScorePoint",
    "Setup",
    "SideLine",
    "Specialists",
    "Standing",
    "Tradeoffs",
    "TuningReport",
    "Version",
    "as_document",
    "compare_runs",
    "cost_curve",
    "critiques",
    "diff",
    "disagreements",
    "earnings",
    "events",
    "examination_history",
    "examinations",
    "example_detail",
    "examples",
    "failure_modes",
    "family",
    "find_version",
    "human_labels",
    "judge_errors",
    "judge_labels",
    "judges",
    "lead_of",
    "lineage",
    "list_runs",
    "load_run",
    "locate",
    "matrix",
    "overview",
    "parts",
    "prompt",
    "remark_history",
    "remarks",
    "requests",
    "run_config",
    "score_points",
    "setup",
    "side_by_side",
    "sides",
    "sources_in_words",
    "tradeoffs",
    "tuning",
    "tuning_samples",
    "unified_diff",
]
