"""Credit: what each proposer has earned per unit of cost, and how the next drafts are shared out among them.

Pure bookkeeping; knows nothing about what proposers do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

FLOOR = 0.1
"""Share of the drafts that is spread evenly, so that no proposer is ever given up."""


@dataclass(slots=True)
class Account:
    """One proposer's record."""

    drafts: int = 0
    gain: float = 0.0
    """Sum of positive paired differences that its candidates reached in races."""
    cost: int = 0
    """Task calls spent on gating and racing its candidates."""

    @property
    def rate(self) -> float:
        """Gain per 100 calls, with a prior of 0.1 for 20 calls so that one failure does not end a proposer."""
        return (self.gain + 0.1) / (self.cost + 20) * 100


class Credit:
    def __init__(self, proposers: Sequence[str]) -> None:
        self.accounts = {name: Account() for name in proposers}

    def drafted(self, name: str, count: int) -> None:
        self.accounts[name].drafts += count

    def earned(self, name: str, gain: float, cost: int) -> None:
        self.accounts[name].gain += max(0.0, gain)
        self.accounts[name].cost += cost

    def share(self, count: int, turn: int) -> dict[str, int]:
        """Drafts per proposer for the next round, `count` in all.

        Parts follow `rate` (a proposer that was never tried counts as the best one) above the floor; what is left over
        goes to the largest remainders, ties to the one whose turn it is.
        """
        names = list(self.accounts)
        rates = [account.rate for account in self.accounts.values()]
        weights = [max(rates) if not account.drafts else account.rate for account in self.accounts.values()]
        total = sum(weights)
        exact = [count * (FLOOR / len(names) + (1 - FLOOR) * weight / total) for weight in weights]
        shares = [int(part) for part in exact]
        order = sorted(range(len(names)), key=lambda i: (shares[i] - exact[i], (i - turn) % len(names)))
        for index in order[: count - sum(shares)]:
            shares[index] += 1
        return dict(zip(names, shares, strict=True))
