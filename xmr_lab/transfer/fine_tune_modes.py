"""Which weights of a hub encoder are trained: none, those of the last blocks, a low-rank correction, or all."""

from __future__ import annotations

import copy
from typing import Any, Literal

from torch import nn

from .lora import add_lora

__all__ = ["Mode", "set_mode"]

Mode = Literal["frozen", "last", "lora", "full"]
ATTENTION = (("query", "value"), ("q_proj", "v_proj"), ("c_attn",))  # what LoRA corrects, by families' names for it


def set_mode(encoder: Any, mode: Mode, *, blocks: int, rank: int, seed: int) -> Any:
    """A copy of an encoder's network in which only that part of its tower asks for gradients that ``mode`` names.

    Args:
        encoder: of the hub tier; not changed.
        mode: ``"last"``: the last ``blocks`` blocks; of a ResNet these are stages, of VGG convolutions.
            ``"lora"``: corrections of ``rank`` of queries and values (of GPT-2 keys too, which it keeps in one matrix).
        blocks, rank, seed: as above; the seed is LoRA's.

    Raises:
        ValueError: for LoRA, if the network has no attention that it knows, such as a ResNet.
    """
    changed = copy.copy(encoder)
    changed.network = network = copy.deepcopy(encoder.network).requires_grad_(False)
    tower = changed.tower
    if mode == "full":
        tower.requires_grad_(True)
    elif mode == "last":
        for block in blocks_of(tower)[-blocks:]:
            block.requires_grad_(True)
    elif mode == "lora":
        as_linear(network)
        names = {name.rpartition(".")[2] for name, m in tower.named_modules() if isinstance(m, nn.Linear)}
        targets = next((each for each in ATTENTION if set(each) <= names), None)
        if targets is None:
            known = " or ".join("/".join(each) for each in ATTENTION)
            raise ValueError(
                f"LoRA corrects attention, and {type(network).__name__} has none that goes by {known}; "
                "use mode='last' or 'full'"
            )
        network = add_lora(network, rank=rank, targets=targets, seed=seed).base_model.model
    return network.eval()


def blocks_of(tower: nn.Module) -> list[nn.Module]:
    """The blocks of a network, first to last: of its lists of layers, the one that holds most of the weights."""
    lists: list[nn.Module] = [m for m in tower.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    inner = [m for m in lists if m is not tower] or [tower]
    largest = max(inner, key=lambda m: sum(p.numel() for p in m.parameters()))  # of equal ones the outermost
    return [block for block in largest.children() if any(True for _ in block.parameters())]


def as_linear(network: nn.Module) -> None:
    """Put linear layers in place of GPT-2's, which are the same with the matrix transposed."""
    from transformers.pytorch_utils import Conv1D

    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv1D):
                n_in, n_out = child.weight.shape
                linear = nn.Linear(n_in, n_out, device=child.weight.device).requires_grad_(False)
                linear.weight.copy_(child.weight.T)
                linear.bias.copy_(child.bias)
                setattr(parent, name, linear)
