"""A Llama of two layers with random weights that speaks the toy policy's words: the real backend for `colours`."""

from __future__ import annotations

import torch
from toy_policy import WORDS, ToyTokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from promptlearn.tuning.base import Backend, Lora
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.local.sampler import LocalSampler

torch.set_num_threads(1)


def tiny_backend(device: str = "cpu") -> Backend:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    model = LlamaForCausalLM(config).eval().to(device)
    policy = Policy(model, Lora(rank=4, alpha=8, seed=0), model_hash="tiny", eos_ids=(0,))
    return Backend(ToyTokenizer(), LocalSampler(policy), LocalLearner(policy))
