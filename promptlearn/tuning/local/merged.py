"""The model once more, with an adapter added to its linear weights: one product instead of three.

Everything but those weights is shared with the model that is trained, whose own weights stay as they are, to the bit.
Knows peft's layers; neither sampling nor who may use the model when.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear, LoraLayer

from promptlearn.tuning.local.memory import COPY_SHARE, device_memory


class Merged:
    """`model` has W + scale · B · A where the other has W and an adapter; W alone until `add_up`."""

    def __init__(self, wrapped: PeftModel, adapter: str) -> None:
        """Make one where `possible` says so."""
        self._adapter = adapter
        self._layers = _layers(wrapped.get_base_model())
        own = {id(layer.weight) for layer in self._layers.values()}
        shared = {id(value): value for value in wrapped.parameters() if id(value) not in own}
        self.model = copy.deepcopy(wrapped.get_base_model(), shared)
        for name, layer in _layers(self.model).items():
            parent, _, leaf = name.rpartition(".")
            setattr(self.model.get_submodule(parent), leaf, layer.base_layer)

    @staticmethod
    def possible(wrapped: PeftModel) -> bool:
        """Whether sums have the precision that training has, and memory for them is there.

        With 16 bits a sum loses what a small step changed: samples would come from another policy than is trained.
        """
        layers = _layers(wrapped.get_base_model()).values()
        weights = [layer.weight for layer in layers if isinstance(layer, Linear)]
        if not weights or len(weights) < len(layers) or any(weight.dtype != torch.float32 for weight in weights):
            return False
        needed: int = sum(weight.numel() * weight.element_size() for weight in weights)
        return needed <= COPY_SHARE * device_memory(weights[0].device)

    @torch.no_grad()
    def add_up(self) -> None:
        """Take in the adapter as it is now."""
        for name, layer in self._layers.items():
            total = self.model.get_submodule(name).weight
            torch.add(layer.weight, layer.get_delta_weight(self._adapter), out=total)


def _layers(model: Any) -> dict[str, Any]:
    """Those that have an adapter, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
