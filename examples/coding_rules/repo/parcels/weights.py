"""Weights as customers write them."""

import logging

_log = logging.getLogger(__name__)


def read_weight(text: str) -> float:
    """Kilograms: `2.5 kg` is 2.5."""
    number, _, unit = text.strip().partition(" ")
    try:
        weight = float(number)
    except ValueError:
        raise ValueError(f"not a weight: {text!r}") from None
    if unit != "kg":
        raise ValueError(f"not a weight in kg: {text!r}")
    _log.debug("read %s kg", weight)
    return weight
