"""Checkpoints of a training: one safetensors file, its facts as JSON in the header; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from xmr_lab._files import write
from xmr_lab.encoders.base import array_digest

__all__ = ["Checkpoint", "read_checkpoint", "save_checkpoint"]


def save_checkpoint(
    path: Path,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    rng: torch.Generator,
    facts: dict[str, Any],
) -> None:
    """Keep weights, optimiser and random numbers, and ``facts``, anything that JSON holds.

    Whoever is killed meanwhile leaves the old file or the new one, never half of it.
    """
    state = optimizer.state_dict()["state"]
    tensors = {f"weights.{name}": value for name, value in weights.items()}
    tensors |= {f"optimizer.{i}.{key}": torch.as_tensor(v) for i, own in state.items() for key, v in own.items()}
    tensors["rng"] = rng.get_state()
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    about = json.dumps(facts, sort_keys=True)
    write(save(whole, {"facts": about, "sha256": digest(about, whole)}), path)


def digest(about: str, tensors: dict[str, Tensor]) -> str:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return hashlib.sha256(f"{about} {array_digest(arrays)}".encode()).hexdigest()


class Checkpoint(NamedTuple):
    """What `save_checkpoint` wrote."""

    path: Path
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def require(self, facts: dict[str, Any]) -> None:
        """Refuse to go on with another training.

        Raises:
            ValueError: if one of ``facts`` differs from what the checkpoint holds; the message says which.
        """
        wanted = json.loads(json.dumps(facts))
        if different := sorted(key for key, value in wanted.items() if self.facts.get(key) != value):
            raise ValueError(
                f"the checkpoint {self.path} is of another training; what differs: {', '.join(different)}. "
                "Name another file, or delete it to start from the beginning"
            )

    @torch.no_grad()
    def restore_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite ``weights``, whose names and shapes must be the ones that were saved.

        Raises:
            ValueError: if they are not.
        """
        held = {name.removeprefix("weights."): t for name, t in self.tensors.items() if name.startswith("weights.")}
        if {name: t.shape for name, t in held.items()} != {name: t.shape for name, t in weights.items()}:
            raise ValueError(f"the checkpoint {self.path} holds the weights of another model, or of another part of it")
        for name, value in weights.items():
            value.copy_(held[name])

    def restore_training(self, optimizer: torch.optim.Optimizer, rng: torch.Generator) -> None:
        """Overwrite the optimiser's state and the random numbers."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self.tensors.items():
            if name.startswith("optimizer."):
                _, i, key = name.split(".")
                state.setdefault(int(i), {})[key] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        rng.set_state(self.tensors["rng"])


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint, checked against its own SHA-256.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is damaged, or no checkpoint.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        if about.get("sha256") != digest(about["facts"], tensors):
            raise ValueError("its SHA-256 does not fit")
        return Checkpoint(path, json.loads(about["facts"]), tensors)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"the checkpoint {path} is damaged, or is none ({error}); delete it to start from the beginning"
        ) from error
