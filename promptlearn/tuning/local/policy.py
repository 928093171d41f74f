"""The base model with its adapters, in this process: one set of weights that a learner and a sampler share.

Two adapters stand on it, the one that is trained and the one that was published, so that training never changes what a
sample is drawn from. Where that is possible the published one is added to linear weights of its own (`merged`). One
user at a time; whoever wants the weights waits. Knows neither losses nor sampling.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor

from promptlearn.errors import ConfigError
from promptlearn.tuning.base import Lora
from promptlearn.tuning.local.attention import NAME, grouped_attention
from promptlearn.tuning.local.head import few_logits, token_logprobs
from promptlearn.tuning.local.merged import Merged
from promptlearn.tuning.local.packing import Packed

Which = Literal["trained", "published", "base"]


class Policy:
    """`model` is a causal language model of transformers; its linear layers are wrapped where they stand."""

    def __init__(self, model: Any, lora: Lora, *, model_hash: str = "", eos_ids: Sequence[int] = ()) -> None:
        """`eos_ids` end a completion. Raises ConfigError for an architecture whose arithmetic is not the usual one."""
        _check(model)
        _use_grouped_attention(model)
        settings = LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(lora.seed)
            with warnings.catch_warnings():  # peft's word to transformers, and nobody else's business
                warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
                self._wrapped: PeftModel = get_peft_model(model, settings, adapter_name="trained")
                self._wrapped.add_adapter("published", settings)
        self._wrapped.eval()
        self._model = model
        self._trunk = getattr(model, model.base_model_prefix)
        self._lock = threading.RLock()
        self._current = "trained"
        self._merged = Merged(self._wrapped, "published") if Merged.possible(self._wrapped) else None
        self.logits = few_logits(self.head)
        """(N, V) float32 of the (N, d) states of a few completions."""
        self.model_hash = model_hash
        self.eos_ids = frozenset(eos_ids)
        self.lora = lora

    @property
    def config(self) -> Any:
        """The model's configuration, of transformers."""
        return self._model.config

    @property
    def device(self) -> torch.device:
        return self.head.device

    @property
    def head(self) -> Tensor:
        """(V, d), frozen."""
        weight: Tensor = self._model.get_output_embeddings().weight
        return weight.detach()

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """Of the adapter that is trained."""
        return [value for name, value in self._wrapped.named_parameters() if ".trained." in name]

    @contextmanager
    def using(self, which: Which) -> Iterator[None]:
        """The weights as they are with one of the adapters, or with none, for nobody else meanwhile."""
        with self._lock:
            if which == "base":
                with self._wrapped.disable_adapter():
                    yield
            elif which == "published" and self._merged is not None:
                with self._instead(self._merged.model):
                    yield
            else:
                if which != self._current:
                    self._wrapped.set_adapter(which)
                    self._current = which
                yield

    @contextmanager
    def _instead(self, model: Any) -> Iterator[None]:
        """Another model computes the hidden states."""
        own, self._trunk = self._trunk, getattr(model, model.base_model_prefix)
        try:
            yield
        finally:
            self._trunk = own

    def hidden(self, token_ids: Tensor, position_ids: Tensor, **more: Any) -> Tensor:
        """(B, T, d) last hidden states, normalised as the head wants them."""
        out = self._trunk(input_ids=token_ids, position_ids=position_ids, **more)
        states: Tensor = out.last_hidden_state
        return states

    def score(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """(log-probabilities, entropies) of the trained tokens of one packed sequence, both (N,)."""
        hidden = self.hidden(packed.token_ids, packed.position_ids, blocks=packed.blocks, use_cache=False)
        return token_logprobs(hidden[0, packed.sources], self.head, packed.targets)

    @torch.no_grad()
    def sequence_logprobs(self, token_ids: Sequence[int], which: Which) -> tuple[float, ...]:
        """Of each token but the first, given what stands before it."""
        ids = torch.tensor([token_ids], device=self.device)
        with self.using(which):
            hidden = self.hidden(ids, torch.arange(len(token_ids), device=self.device)[None], use_cache=False)
            logp, _ = token_logprobs(hidden[0, :-1], self.head, ids[0, 1:])
        return tuple(logp.tolist())

    @contextmanager
    def checkpointing(self) -> Iterator[None]:
        """Backward within computes activations anew instead of keeping them; dropout stays off. For nobody else."""
        with self._lock:
            self._model.activation_checkpointing_enable({"use_reentrant": False})
            self._wrapped.train()
            try:
                yield
            finally:
                self._wrapped.eval()

    def save(self, path: Path) -> None:
        """The trained adapter in PEFT's format: adapter_config.json and adapter_model.safetensors in `path`."""
        self._wrapped.save_pretrained(str(path), selected_adapters=["trained"], save_embedding_layers=False)
        nested = path / "trained"
        for file in nested.iterdir():
            file.replace(path / file.name)
        nested.rmdir()

    def publish(self, path: Path) -> None:
        """Sample from the adapter in this folder from now on."""
        tensors = load_file(path / "adapter_model.safetensors")
        with self._lock:
            missing = set_peft_model_state_dict(self._wrapped, tensors, adapter_name="published").unexpected_keys
            if missing:
                raise ConfigError(f"{path} is an adapter of another model: it has {missing[0]}, which this one has not")
            if self._merged is not None:
                self._merged.add_up()


def _check(model: Any) -> None:
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    odd = [f"{kind} layers" for kind in kinds - {"full_attention"}]
    if not getattr(config, "layer_types", None) and getattr(config, "sliding_window", None):
        odd.append("a sliding window")
    odd += [key for key in ("final_logit_softcapping", "attn_logit_softcapping") if getattr(config, key, None)]
    odd += [key for key in ("logits_scaling", "logit_scale") if getattr(config, key, 1) not in (None, 1)]
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        odd.append("an output head with a bias")
    if odd:
        raise ConfigError(
            f"{config.model_type} has {', '.join(odd)}, which the local learner does not compute: take a model such as"
            " Llama, Qwen or SmolLM, or the trl engine"
        )


def _use_grouped_attention(model: Any) -> None:
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, grouped_attention)
    model.config._attn_implementation = NAME
    model.config.attention_dropout = 0.0
