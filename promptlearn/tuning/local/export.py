"""An adapter as llama.cpp reads it: so that a trained model is evaluated by the same server as its base.

Knows PEFT's names and GGUF's; reads no weights but the adapter's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from promptlearn.errors import ConfigError

_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""transformers' model type → llama.cpp's architecture."""
_PREFIX = "base_model.model."


def export_gguf(adapter: Path, config: Any, target: Path) -> Path:
    """Write the PEFT adapter in folder `adapter` as one GGUF file; returns `target`.

    `config` is the base model's, of transformers (`load_config`). llama.cpp scales by alpha / rank, as PEFT does. Its
    `llama` architecture turns pairs that lie next to each other where transformers turns halves, so rows of queries and
    keys change places. Raises ConfigError for an architecture that is not known here.
    """
    import gguf
    from safetensors.numpy import load_file

    architecture = _ARCHITECTURES.get(config.model_type)
    if architecture is None:
        possible = ", ".join(sorted(_ARCHITECTURES))
        raise ConfigError(f"{config.model_type} adapters can not be written for llama.cpp: possible are {possible}")
    number = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    partial = target.with_name(f".{target.name}.partial")
    writer = gguf.GGUFWriter(partial, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(settings["lora_alpha"]))
    for key, tensor in sorted(load_file(adapter / "adapter_model.safetensors").items()):
        layer, side = _parts(key)
        name = names.get_name(layer)
        if name is None:
            raise ConfigError(f"{adapter}: llama.cpp has no place for {layer}")
        if side == "b" and architecture == "llama" and layer.endswith(("q_proj", "k_proj")):
            heads = config.num_attention_heads if layer.endswith("q_proj") else config.num_key_value_heads
            tensor = _interleaved(tensor, heads)
        writer.add_tensor(f"{name}.weight.lora_{side}", tensor.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(target)
    return target


def _parts(key: str) -> tuple[str, str]:
    """`base_model.model.LAYER.lora_A.weight` → (LAYER, `a`)."""
    layer, _, rest = key.removeprefix(_PREFIX).partition(".lora_")
    return layer, rest[0].lower()


def _interleaved(tensor: Any, heads: int) -> Any:
    """(out, r) rows in llama.cpp's order; as in convert_hf_to_gguf.py of llama.cpp."""
    return tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
