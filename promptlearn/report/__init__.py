"""What happened in runs: read-only questions to the store, plain frozen records out. One file per view.

For the CLI, the dashboard and the handouts. Imports no model, judge or stage that runs, and nothing of SQLAlchemy: it
asks `store.reader` and `store.views` and puts the answers together. What may be many comes in pages. A *version* names
one prompt of a run: `baseline`, `best`, a candidate's number, or the beginning of a digest.
"""

from promptlearn.report.examples import ExampleReport, examples
from promptlearn.report.names import Version, find_version, locate, run_config
from promptlearn.report.pairs import Paired, paired
from promptlearn.report.prompts import as_document, diff, prompt, unified_diff
from promptlearn.report.run import CandidateReport, RunReport, lineage, load_run
from promptlearn.report.runs import RunSummary, list_runs
from promptlearn.report.training import TuningReport, tuning, tuning_samples

__all__ = [
    "CandidateReport",
    "ExampleReport",
    "Paired",
    "RunReport",
    "RunSummary",
    "TuningReport",
    "Version",
    "as_document",
    "diff",
    "examples",
    "find_version",
    "lineage",
    "list_runs",
    "load_run",
    "locate",
    "paired",
    "prompt",
    "run_config",
    "tuning",
    "tuning_samples",
    "unified_diff",
]
