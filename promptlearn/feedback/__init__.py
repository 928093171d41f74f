"""Words in, what to learn from out: judges' critiques as failure modes, reviewers' comments as rules.

Knows verdicts, comments and examples; asks no model but one that is passed in, and knows no proposer. `failure_modes`
reads verdicts; `survey`, `classify` and `approved_reviews` read comments.
"""

from promptlearn.feedback.digest import JudgedRow, failure_modes

__all__ = ["JudgedRow", "failure_modes"]
