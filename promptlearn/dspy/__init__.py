"""For those who write their programs with DSPy: promptlearn's search as a teleprompter, and its judges as metrics.

    from promptlearn.dspy import PromptLearn, as_metric

    learned = PromptLearn(metric, task_calls=400).compile(program, trainset=train, valset=val)

`teleprompter` compiles, `metrics` translates between judges and metrics, `background` is where judges answer. Importing
this package imports DSPy and switches its disk cache off, which is pickle. What runs programs is
`programs/dspy_module.py`.
"""

from promptlearn.programs.dspy_lm import load_dspy

load_dspy()  # first, so that who lacks DSPy reads one line that names the extra

from promptlearn.dspy.metrics import MetricJudge, as_metric  # noqa: E402
from promptlearn.dspy.teleprompter import PromptLearn, load_prompt, write_prompt  # noqa: E402

__all__ = ["MetricJudge", "PromptLearn", "as_metric", "load_prompt", "write_prompt"]
