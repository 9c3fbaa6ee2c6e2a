"""What an encoder costs: its dimension, its parameters, its time."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from torch import nn

from .base import Encoder

__all__ = ["count_parameters", "profile"]


def profile(encoder: Encoder, items: Sequence[Any], n: int = 32) -> dict[str, float]:
    """Dimension, number of parameters and milliseconds an item, measured here and now.

    Args:
        encoder: fitted, if it is one that learns.
        items: of its modality; they are decoded before the clock starts.
        n: how many of them are encoded.

    Returns:
        ``dimension``, ``parameters`` and ``ms per item``.

    Raises:
        ValueError: if there are no items.
    """
    decoded = [items[i] for i in range(min(n, len(items)))]
    if not decoded:
        raise ValueError("at least one item is needed to measure the time")
    encoder.encode(decoded[:1], progress=False)  # whatever is loaded at first use
    start = perf_counter()
    encoder.encode(decoded, progress=False)
    seconds = perf_counter() - start
    parameters = count_parameters(encoder)
    return {"dimension": encoder.dim, "parameters": parameters, "ms per item": 1000 * seconds / len(decoded)}


def count_parameters(encoder: Any) -> int:
    """Numbers that were learnt: weights of networks, arrays of `Trainable.state`; 0 for features made by hand.

    Of an ONNX model, of which only the file is at hand, the size of that file over four.
    """
    if hasattr(encoder, "n_parameters"):
        return int(encoder.n_parameters)
    if hasattr(encoder, "state"):
        return sum(array.size for array in encoder.state().values() if array.dtype.kind == "f")
    networks = [value for value in vars(encoder).values() if isinstance(value, nn.Module)]
    return sum(weight.numel() for network in networks for weight in network.parameters())
