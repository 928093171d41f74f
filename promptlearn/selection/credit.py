"""Credit: what each proposer has earned per unit of cost, and how the next drafts are shared out among them.

What a proposer spent counts whatever came of it, and a draft that it was asked for and that never ran is held against
it. Pure bookkeeping; knows nothing about what proposers do.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from promptlearn.records import Json

FLOOR = 0.1
"""Share of the drafts that is spread evenly, so that no proposer is ever given up: of n proposers each has a draft at
least every ⌈n / FLOOR⌉ drafts that are shared out."""


PRIOR_GAIN, PRIOR_CALLS = 0.1, 20
"""Added to every account, so that one failure does not end a proposer. Each draft that was asked for and never ran adds
so many calls too: it may have cost nothing, but who delivers nothing must not live on the prior."""


@dataclass(slots=True)
class Account:
    """One proposer's record."""

    asked: int = 0
    """Drafts that it was asked for."""
    drafts: int = 0
    """Drafts that it made."""
    candidates: int = 0
    """Drafts that were run: that kept the contract, and that nobody had tried before."""
    gain: float = 0.0
    """Sum of positive paired differences that its candidates reached in races."""
    calls: int = 0
    """Spent on proposing and repairing, whatever came of it, and on gating and racing its candidates; of all models."""
    usd: float | None = 0.0
    """What these cost; None where a price is unknown."""
    owed: float = 0.0
    """Parts of a draft that shares so far have left it short of; negative where they gave it more."""
    waited: int = 0
    """Drafts that were shared out since it last had one."""

    @property
    def missing(self) -> int:
        """Drafts that it was asked for and that never ran: not made, made before, or against the contract."""
        return max(0, self.asked - self.candidates)


@dataclass(frozen=True, slots=True)
class Share:
    """How the drafts of a round are shared out."""

    drafts: Mapping[str, int]
    parts: Mapping[str, float]
    """What each proposer has earned of them, before it is rounded."""


class Credit:
    def __init__(self, proposers: Sequence[str]) -> None:
        self.accounts = {name: Account() for name in proposers}

    def drafted(self, name: str, asked: int, made: int) -> None:
        self.accounts[name].asked += asked
        self.accounts[name].drafts += made

    def book(self, share: Share) -> None:
        """Share these drafts out: what rounding took or gave counts in the next share."""
        count = sum(share.drafts.values())
        for name, drafts in share.drafts.items():
            account = self.accounts[name]
            account.owed += share.parts[name] - drafts
            account.waited = 0 if drafts else account.waited + count

    def spent(self, name: str, calls: int, usd: float | None = None) -> None:
        """Take down what was paid on behalf of a proposer."""
        account = self.accounts.get(name)
        if account is None:  # a join of two winners, where nobody proposes such
            return
        account.calls += calls
        account.usd = None if usd is None or account.usd is None else account.usd + usd

    def earned(self, name: str, gain: float) -> None:
        """Take down what one candidate brought."""
        account = self.accounts.get(name)
        if account is None:
            return
        account.candidates += 1
        account.gain += max(0.0, gain)

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
            unpaid = PRIOR_CALLS * (1 + account.missing)
            cost = (account.calls + unpaid) / 100 if price is None else (account.usd or 0.0) + unpaid * price
            found[name] = (account.gain + PRIOR_GAIN) / cost
        return found

    def table(self) -> Json:
        """The accounts with their rates, as JSON."""
        rates, unit = self.rates(), "100 calls" if self.usd_per_call is None else "dollar"
        rows = [
            {
                "proposer": name,
                "asked": account.asked,
                "drafts": account.drafts,
                "candidates": account.candidates,
                "gain": account.gain,
                "calls": account.calls,
                "usd": account.usd,
                "rate": rates[name],
            }
            for name, account in self.accounts.items()
        ]
        return {"per": unit, "proposers": rows}

    def share(self, count: int, turn: int, idle: Collection[str] = ()) -> Share:
        """Drafts per proposer for the next round, `count` in all; those that are `idle` have nothing to say. Whoever
        acts on it books it.

        Parts follow `rates` (a proposer that was never asked counts as the best one) above the floor. Who has waited
        long comes first; every other draft goes to whom most is owed, ties to the one whose turn it is.
        """
        names = [name for name in self.accounts if name not in idle]
        if not names:
            return Share({}, {})
        turn %= len(names)
        in_turn = [*names[turn:], *names[:turn]]
        parts = self._parts(names, count)
        drafts = dict.fromkeys(names, 0)
        longest = ceil(len(self.accounts) / FLOOR) - len(self.accounts)  # all may be due at once
        due = [name for name in in_turn if self.accounts[name].waited + count > longest]
        for name in sorted(due, key=lambda name: -self.accounts[name].waited)[:count]:
            drafts[name] = 1
        for _ in range(count - sum(drafts.values())):
            drafts[max(in_turn, key=lambda name: self.accounts[name].owed + parts[name] - drafts[name])] += 1
        return Share(drafts, parts)

    def _parts(self, names: Sequence[str], count: int) -> dict[str, float]:
        rates = self.rates()
        best = max(rates[name] for name in names)
        weights = [rates[name] if self.accounts[name].asked else best for name in names]
        total = sum(weights)
        return {
            name: count * (FLOOR / len(names) + (1 - FLOOR) * weight / total)
            for name, weight in zip(names, weights, strict=True)
        }
