"""A job: everything that a run needs, opened and ready to run or to evaluate.

    result = await run_job(job)               # learn a better prompt and prove it on the test split
    evaluation = await evaluate_job(job)      # measure the prompt as it is

`parts` says what a job is, `checks` what it could not do, `room` whether its search fits into its budget, `metering`
puts its models behind journal and ledger, `bench` opens all of it, `learning` and `evaluating` are the two things that
are done with it, and `record` is what the store is told of either. Knows how the parts are put together, and nothing
about how they work. The CLI builds a job from a configuration, the Python API from objects.
"""

from promptlearn.job.bench import open_bench
from promptlearn.job.checks import check_job
from promptlearn.job.evaluating import Evaluation, evaluate_job, evaluating
from promptlearn.job.learning import run_job
from promptlearn.job.metering import metered
from promptlearn.job.parts import Job, JudgeSpec
from promptlearn.job.record import labels_of, note_end, versions, working
from promptlearn.job.room import too_small

__all__ = [
    "Evaluation",
    "Job",
    "JudgeSpec",
    "check_job",
    "evaluate_job",
    "evaluating",
    "labels_of",
    "metered",
    "note_end",
    "open_bench",
    "run_job",
    "too_small",
    "versions",
    "working",
]
