"""A Llama of two layers with random weights as a folder that transformers wrote: what `tuning.base` names in tests."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from toy_policy import WORDS
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

END, UNKNOWN = "<end>", "<unknown>"


def write_tiny_model(folder: Path) -> Path:
    """It speaks the toy policy's words, and reads the last message of a chat alone."""
    vocabulary = {END: 0} | {word: number for number, word in enumerate(WORDS) if word} | {UNKNOWN: len(WORDS)}
    words = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END, pad_token=END, unk_token=UNKNOWN)
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
