"""Does it pay to change the prompt, the weights, both, or neither? Arms on the same splits, judges and decoding.

    with open_lab(config) as lab:
        comparison = await compare(lab)
        comparison.to_json()

`arms` says what each arm does, `lab` opens what all of them share, `plan` is what can be said before anything is spent,
`learning` makes each arm's prompt or weights with train and validation rows, `reading` reads the test split once after
all of that, `best_of` is the arm that only spends more per call, `cost` is what learning and calling cost, `comparison`
holds the figures, with `page` and `figure` for people. Nothing here decides which prompt or adapter is good: validation
does, in runs like any other.
"""

from promptlearn.compare.comparison import Comparison
from promptlearn.compare.lab import Lab, open_lab
from promptlearn.compare.plan import Plan
from promptlearn.compare.running import compare

__all__ = ["Comparison", "Lab", "Plan", "compare", "open_lab"]
