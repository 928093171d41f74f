"""Examining judges themselves: can they be fooled, how noisy are they, do they agree with people.

Opens a job's judges on metered models, like a run does: every call is journalled and counts towards the budget, so that
a command that was killed pays for nothing twice. Results are kept in the store, newest first, for the reports.
"""

from promptlearn.examine.canaries import canary_document, examine_canaries
from promptlearn.examine.choosing import chosen_judges

__all__ = ["canary_document", "chosen_judges", "examine_canaries"]
