"""Words in, what to learn from out: judges' critiques as failure modes, reviewers' comments as rules.

Knows verdicts, comments and examples; asks no model but one that is passed in, and knows no proposer. `failure_modes`
and `mistakes` read verdicts; `survey`, `classify` and `approved_reviews` read comments.
"""

from promptlearn.feedback.digest import JudgedRow, Mistakes, failure_modes, mistakes

__all__ = ["JudgedRow", "Mistakes", "failure_modes", "mistakes"]
