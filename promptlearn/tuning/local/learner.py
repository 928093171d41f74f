"""LocalLearner: trains the adapter with torch, on whatever device the weights are.

Knows packing, losses and the optimizer; knows neither judges nor where samples come from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptlearn.errors import TuningError
from promptlearn.tuning.base import Adam, Adapter, Canary, Loss, StepReport, TrainSample
from promptlearn.tuning.local.memory import Plan, plan
from promptlearn.tuning.local.packing import Packed, pack
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.losses import Tokens, clip_fraction, effective_sample_size, k3, policy_loss, ratios, weights

_CANARY_TOKENS = 24


class LocalLearner:
    """A `Learner` over the weights of this process.

    With dropout off and one order of arithmetic, the same samples give the same gradient, bit for bit, on one CPU. CUDA
    adds up the gradient of attention in no fixed order, so there it is the same to rounding.
    """

    def __init__(self, policy: Policy, *, tokens_at_once: int | None = None, checkpoint: bool = False) -> None:
        """`tokens_at_once` of one forward pass, and whether backward computes activations anew; by default what fits
        the device's memory.
        """
        self._policy = policy
        self._fixed = None if tokens_at_once is None else Plan(tokens_at_once, checkpoint)
        self._optimizer = torch.optim.AdamW(policy.parameters)
        self._version = 0
        self._canary_ids = _canary_ids(policy.config.vocab_size)
        self._published = policy.sequence_logprobs(self._canary_ids, "base")

    @property
    def model_hash(self) -> str:
        return self._policy.model_hash

    @property
    def version(self) -> int:
        return self._version

    @torch.no_grad()
    def logprobs(self, samples: Sequence[TrainSample], base: bool = False) -> list[list[float]]:
        rows = [[0.0] * len(sample.token_ids) for sample in samples]
        with self._policy.using("base" if base else "trained"):
            for packed in pack(samples, self._plan(samples).tokens, self._policy.device):
                values = iter(self._policy.score(packed)[0].tolist())
                for row, places in packed.rows:
                    for place in places:
                        rows[row][place] = next(values)
        return rows

    def forward_backward(self, samples: Sequence[TrainSample], loss: Loss) -> StepReport:
        started = time.perf_counter()
        if any(sample.reward is None for sample in samples):
            raise ValueError("a sample without a reward can not be trained on: `credit` leaves it out")
        token_weights = weights(loss, [sum(sample.mask) for sample in samples])
        parts, chosen = [], self._plan(samples)
        anew = self._policy.checkpointing() if chosen.checkpoint else nullcontext()
        with self._policy.using("trained"), anew:
            for packed in pack(samples, chosen.tokens, self._policy.device):
                part = self._part(packed, samples, token_weights, loss)
                part.loss.backward()  # type: ignore[no-untyped-call]
                parts.append(part.detached())
        if not parts:
            raise ValueError("a minibatch without a trained token has no gradient: skip it")
        return _report(parts, loss, self._grad_norm(), time.perf_counter() - started)

    def optim_step(self, adam: Adam) -> None:
        group = self._optimizer.param_groups[0]
        group["lr"], group["eps"], group["weight_decay"] = adam.learning_rate, adam.eps, adam.weight_decay
        group["betas"] = (adam.beta1, adam.beta2)
        with self._policy.using("trained"):
            torch.nn.utils.clip_grad_norm_(self._policy.parameters, adam.clip_norm)
            self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        self._version += 1

    def save_adapter(self, path: Path) -> Adapter:
        path.mkdir(parents=True, exist_ok=True)
        with self._policy.using("trained"):
            self._policy.save(path)
            now = self._policy.sequence_logprobs(self._canary_ids, "trained")
        canary, self._published = Canary(self._canary_ids, now, self._published), now
        return Adapter(path, self._version, canary)

    def save_state(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        state = {
            "adapter": [value.detach().cpu() for value in self._policy.parameters],
            "optimizer": self._optimizer.state_dict(),
            "version": self._version,
            "published": list(self._published),
            "model_hash": self.model_hash,
        }
        partial = path / "learner.pt.partial"
        torch.save(state, partial)
        partial.replace(path / "learner.pt")

    def load_state(self, path: Path) -> None:
        state = torch.load(path / "learner.pt", map_location=self._policy.device, weights_only=True)
        if state["model_hash"] != self.model_hash:
            raise TuningError(
                f"{path} was saved with another base model; open the model it was trained on, or start anew"
            )
        with torch.no_grad():
            for value, saved in zip(self._policy.parameters, state["adapter"], strict=True):
                value.copy_(saved)
        self._optimizer.load_state_dict(state["optimizer"])
        self._optimizer.zero_grad(set_to_none=True)
        self._version = state["version"]
        self._published = tuple(state["published"])

    def _plan(self, samples: Sequence[TrainSample]) -> Plan:
        longest = max((len(sample.token_ids) for sample in samples), default=0)
        return self._fixed or plan(self._policy.config, self._policy.device, longest)

    def _part(self, packed: Packed, samples: Sequence[TrainSample], token_weights: list[float], loss: Loss) -> _Part:
        logp, entropy = self._policy.score(packed)
        tokens = _tokens(packed, samples, token_weights, self._policy.device)
        base = self._base(packed) if loss.kl_coef else None
        return _Part(policy_loss(logp, tokens, loss, base), logp, entropy, tokens, base)

    @torch.no_grad()
    def _base(self, packed: Packed) -> Tensor:
        with self._policy.using("base"):
            return self._policy.score(packed)[0]

    def _grad_norm(self) -> float:
        gradients = [value.grad for value in self._policy.parameters if value.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(norm):
            self._optimizer.zero_grad(set_to_none=True)
            raise TuningError(f"the gradient's norm is {norm}: lower the learning rate, or look at the last samples")
        return norm


@dataclass(frozen=True, slots=True)
class _Part:
    """What one packed sequence gave."""

    loss: Tensor
    logp: Tensor
    entropy: Tensor
    tokens: Tokens
    base: Tensor | None

    def detached(self) -> _Part:
        return _Part(self.loss.detach(), self.logp.detach(), self.entropy, self.tokens, self.base)


def _tokens(packed: Packed, samples: Sequence[TrainSample], token_weights: list[float], device: torch.device) -> Tokens:
    def column(values: Iterator[float]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.float32, device=device)

    each = [(samples[row], place) for row, places in packed.rows for place in places]
    counts = torch.tensor([len(places) for _, places in packed.rows], device=device)
    return Tokens(
        behaviour=column(sample.behaviour_logprobs[place] for sample, place in each),
        advantage=column(sample.advantages[place] for sample, place in each),
        sequence=torch.arange(len(packed.rows), device=device).repeat_interleave(counts),
        weight=column(token_weights[row] for row, places in packed.rows for _ in places),
        sequences=len(packed.rows),
    )


def _report(parts: Sequence[_Part], loss: Loss, grad_norm: float, seconds: float) -> StepReport:
    logp = torch.cat([part.logp for part in parts])
    tokens = _joined([part.tokens for part in parts])
    bases = [part.base for part in parts if part.base is not None]
    ratio = ratios(logp, tokens, loss)
    return StepReport(
        loss=float(sum(part.loss for part in parts)),
        kl=float(k3(logp, torch.cat(bases)).mean()) if bases else None,
        entropy=float(torch.cat([part.entropy for part in parts]).mean()),
        clip_fraction=clip_fraction(ratio, tokens, loss),
        grad_norm=grad_norm,
        tokens=len(logp),
        ratio=float(ratio.mean()),
        ratio_error=float((ratio - 1).abs().max()),
        effective_sample_size=effective_sample_size(logp, tokens),
        seconds=seconds,
    )


def _joined(parts: Sequence[Tokens]) -> Tokens:
    offsets = [sum(part.sequences for part in parts[:index]) for index in range(len(parts))]

    def column(name: str) -> Any:
        return torch.cat([getattr(part, name) for part in parts])

    return Tokens(
        behaviour=column("behaviour"),
        advantage=column("advantage"),
        sequence=torch.cat([part.sequence + offset for part, offset in zip(parts, offsets, strict=True)]),
        weight=column("weight"),
        sequences=sum(part.sequences for part in parts),
    )


def _canary_ids(vocabulary: int) -> tuple[int, ...]:
    """Arbitrary tokens, always the same: what an adapter does to them is hard to foresee and easy to compare."""
    generator = torch.Generator().manual_seed(20)
    return tuple(torch.randint(vocabulary, (_CANARY_TOKENS,), generator=generator).tolist())
