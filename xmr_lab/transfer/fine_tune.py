"""Fine-tuning: train a network further, a little, from weights that know something already."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["FineTuned", "all_cores", "fine_tune", "image_layers", "outputs", "trainable"]

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class FineTuned:
    """What `fine_tune` returns.

    Attributes:
        network: the weights of the best epoch, in evaluation mode.
        history: one row an epoch, the first (0) before training: ``loss``, ``validation_loss``, ``seconds`` of
            training, and what ``watch`` returned.
        best_epoch: the row whose weights were kept.
    """

    network: nn.Module
    history: pd.DataFrame
    best_epoch: int


def fine_tune(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    validation: tuple[Tensor, Tensor] | None = None,
    loss: Loss = F.cross_entropy,
    learning_rate: float = 1e-4,
    weight_decay: float = 0.0,
    epochs: int = 20,
    batch_size: int = 32,
    patience: int = 5,
    watch: Callable[[nn.Module], Mapping[str, float]] | None = None,
    seed: int = 0,
) -> FineTuned:
    """Train a copy of a network with AdamW, and stop when the validation loss no longer falls.

    What is trained is what requires a gradient. So a frozen part need not be passed through again and again:
    hand in its outputs (`outputs`) and the rest of the network (`image_layers`). The gradients are the same.

    Args:
        network: maps rows of ``x`` to predictions. It is not changed.
        x: (n, …) inputs: pictures, features, activations, tokens.
        y: (n,) classes, or whatever ``loss`` compares with the predictions.
        validation: inputs and targets that decide which epoch is kept, epoch 0 (untrained) among them.
            Without it, the last one.
        loss: of a batch: ``loss(predictions, targets)``, its mean.
        learning_rate, weight_decay: of AdamW.
        epochs: at most so many.
        batch_size: the last, smaller batch of an epoch is used too.
        patience: stop when the validation loss has not fallen for so many epochs.
        watch: called with the network after each epoch; its values are kept in the history.
        seed: of the order of the batches and of dropout.

    Raises:
        ValueError: if nothing can be trained, shapes do not fit, or the loss is no longer finite.

    References:
        Yosinski et al. (2014), arXiv:1411.1792. Early stopping: Prechelt (1998), doi:10.1007/3-540-49430-8_3.

    Examples:
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
        >>> done = fine_tune(nn.Linear(1, 2), x, y, learning_rate=0.1, epochs=100)
        >>> done.network(x).argmax(1)
        tensor([0, 0, 1, 1])
    """
    sets = [(x, y)] if validation is None else [(x, y), validation]
    if any(len(a) != len(b) or not len(a) for a, b in sets):
        raise ValueError(f"inputs and targets must pair, one at least; got {[(len(a), len(b)) for a, b in sets]}")
    if any(a.is_floating_point() and not a.isfinite().all() for pair in sets for a in pair):
        raise ValueError("inputs and targets must not hold NaN or infinity")
    if epochs < 0 or batch_size < 1 or patience < 1 or not learning_rate >= 0:
        raise ValueError("need epochs >= 0, batch_size >= 1, patience >= 1 and learning_rate >= 0")
    network = copy.deepcopy(network)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("every parameter is frozen; call requires_grad_(True) on the part that is to be trained")
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)

    def row(train_loss: float, seconds: float) -> dict[str, float]:
        network.eval()
        entry = {"loss": train_loss, "seconds": seconds}
        if validation is not None:
            entry["validation_loss"] = mean_loss(network, *validation, loss, batch_size)
        return entry | dict(watch(network) if watch else {})

    def weights() -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}

    history = [row(float("nan"), 0.0)]
    best, kept = 0, weights()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            network.train()
            total, start = 0.0, time.perf_counter()
            for rows in torch.randperm(len(x)).split(batch_size):
                batch = loss(network(x[rows]), y[rows])
                if not batch.isfinite():
                    raise ValueError(f"the loss is {batch.item()} in epoch {epoch}; try a smaller learning_rate")
                optimizer.zero_grad()
                batch.backward()
                optimizer.step()
                total += batch.item() * len(rows)
            history.append(row(total / len(x), time.perf_counter() - start))
            if validation is None or history[-1]["validation_loss"] < history[best]["validation_loss"]:
                best, kept = epoch, weights()
            elif epoch - best >= patience:
                break
    with torch.no_grad():
        for name, p in network.named_parameters():
            if name in kept:
                p.copy_(kept[name])
    return FineTuned(network.eval(), pd.DataFrame(history).rename_axis("epoch"), best)


@torch.inference_mode()
def mean_loss(network: nn.Module, x: Tensor, y: Tensor, loss: Loss, batch_size: int) -> float:
    rows = torch.arange(len(x)).split(batch_size)
    return sum(loss(network(x[r]), y[r]).item() * len(r) for r in rows) / len(x)


@torch.no_grad()  # not inference_mode: what comes out may be trained on
def outputs(network: nn.Module, x: Tensor, *, batch_size: int = 32) -> Tensor:
    """What a network makes of ``x``, in evaluation mode, without gradients: predictions, features, activations."""
    network.eval()
    return torch.cat([network(part) for part in x.split(batch_size)])


@contextmanager
def all_cores() -> Iterator[None]:
    """Let torch use all cores for a while, up to eight: deep networks profit, small products are quicker on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(8, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trainable(network: nn.Module) -> int:
    """How many numbers `fine_tune` would change."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def image_layers(network: Any) -> nn.Sequential:
    """A trainable copy of the picture network of `EfficientNetLite0`, to be cut anywhere: ``layers[:-2]``.

    Eighteen layers: the stem, sixteen blocks, and the last convolution with its mean over the picture. Batch
    normalisation is folded into the convolutions, so there are no running statistics that training, or small
    batches, could spoil; there is also no normalisation that would keep activations in range.

    Args:
        network: ``EfficientNetLite0().network``.

    Returns:
        (n, 3, side, side) scaled by (x - 127) / 128, side a multiple of 32 -> (n, 1280).
    """
    head = [network._conv_head, network._swish, nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    layers = [nn.Sequential(network._conv_stem, network._swish), *network._blocks, nn.Sequential(*head)]
    return copy.deepcopy(nn.Sequential(*layers)).requires_grad_(True)
