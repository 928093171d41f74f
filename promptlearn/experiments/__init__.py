"""Many experiments at once: a base configuration and a matrix over it, run side by side and compared.

    with open_batch(Path("experiments.yaml")) as batch:
        outcomes = await run_batch(batch)
        report = BatchReport.of(batch, outcomes)

`file` reads experiments.yaml, `matrix` makes experiments of it, `shares` deals out the common budget, `plan` opens
everything before the first call, `running` runs it over one pool of slots and one journal, `outcome` reads what came of
an experiment from the store, `ranks` compares outcomes, and `report` is the table, with `junit` for CI. Nothing here
decides anything about a prompt: an experiment is a job like any other.
"""

from promptlearn.experiments.plan import Batch, Entry, open_batch
from promptlearn.experiments.report import BatchReport
from promptlearn.experiments.running import run_batch

__all__ = ["Batch", "BatchReport", "Entry", "open_batch", "run_batch"]
