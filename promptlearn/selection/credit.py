"""Credit: what each proposer has earned per unit of cost, and how the next drafts are shared out among them.

Pure bookkeeping; knows nothing about what proposers do.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from promptlearn.records import Json

FLOOR = 0.1
"""Share of the drafts that is spread evenly, so that no proposer is ever given up."""


PRIOR_GAIN, PRIOR_CALLS = 0.1, 20
"""Added to every account, so that one failure does not end a proposer."""


@dataclass(slots=True)
class Account:
    """One proposer's record."""

    drafts: int = 0
    candidates: int = 0
    """Drafts that nobody had tried before."""
    gain: float = 0.0
    """Sum of positive paired differences that its candidates reached in races."""
    calls: int = 0
    """Spent on proposing, gating and racing its candidates, of all models."""
    usd: float | None = 0.0
    """What these cost; None where a price is unknown."""


class Credit:
    def __init__(self, proposers: Sequence[str]) -> None:
        self.accounts = {name: Account() for name in proposers}

    def drafted(self, name: str, count: int) -> None:
        self.accounts[name].drafts += count

    def earned(self, name: str, gain: float, calls: int, usd: float | None = None) -> None:
        """Take down what one candidate brought, and what it cost."""
        account = self.accounts.get(name)
        if account is None:  # a join of two winners, where nobody proposes such
            return
        account.candidates += 1
        account.gain += max(0.0, gain)
        account.calls += calls
        account.usd = None if usd is None or account.usd is None else account.usd + usd

    @property
    def usd_per_call(self) -> float | None:
        """Mean price of a call; None where a price is unknown or nothing costs anything, and calls are what counts."""
        spent = [account.usd for account in self.accounts.values()]
        calls = sum(account.calls for account in self.accounts.values())
        if not calls or None in spent:
            return None
        return sum(usd or 0.0 for usd in spent) / calls or None

    def rates(self) -> dict[str, float]:
        """Gain per 100 calls, or per dollar where all prices are known."""
        price = self.usd_per_call
        found = {}
        for name, account in self.accounts.items():
            cost = (account.calls + PRIOR_CALLS) / 100 if price is None else (account.usd or 0.0) + PRIOR_CALLS * price
            found[name] = (account.gain + PRIOR_GAIN) / cost
        return found

    def table(self) -> Json:
        """The accounts with their rates, as JSON."""
        rates, unit = self.rates(), "100 calls" if self.usd_per_call is None else "dollar"
        rows = [{"proposer": name, **asdict(account), "rate": rates[name]} for name, account in self.accounts.items()]
        return {"per": unit, "proposers": rows}

    def share(self, count: int, turn: int, idle: Collection[str] = ()) -> dict[str, int]:
        """Drafts per proposer for the next round, `count` in all; those that are `idle` have nothing to say.

        Parts follow `rates` (a proposer that was never tried counts as the best one) above the floor; what is left over
        goes to the largest remainders, ties to the one whose turn it is.
        """
        names = [name for name in self.accounts if name not in idle]
        if not names:
            return {}
        rates = self.rates()
        best = max(rates[name] for name in names)
        weights = [rates[name] if self.accounts[name].drafts else best for name in names]
        total = sum(weights)
        exact = [count * (FLOOR / len(names) + (1 - FLOOR) * weight / total) for weight in weights]
        shares = [int(part) for part in exact]
        order = sorted(range(len(names)), key=lambda i: (shares[i] - exact[i], (i - turn) % len(names)))
        for index in order[: count - sum(shares)]:
            shares[index] += 1
        return dict(zip(names, shares, strict=True))
