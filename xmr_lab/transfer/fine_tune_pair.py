"""Fine-tuning of two hub encoders so that pairs meet in one space: frozen, last blocks, LoRA or all of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xmr_lab._progress import progress_bar
from xmr_lab.encoders.base import BatchEncoder, array_digest, fingerprint_of
from xmr_lab.encoders.cache import fingerprint_of_items
from xmr_lab.matching.losses import info_nce

from .checkpoints import read_checkpoint, save_checkpoint
from .fine_tune_modes import Mode, set_mode

__all__ = ["FineTuneSettings", "TunedEncoder", "TunedPair", "fine_tune_pair", "load_tuned_pair"]

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings:
    """How `fine_tune_pair` trains.

    Attributes:
        mode: what is trained beside the two linear maps into the shared space: nothing (``"frozen"``), the ``"last"``
            blocks, a low-rank correction of the attention (``"lora"``), or all weights (``"full"``).
        dim: width of the shared space.
        blocks: how many ``"last"`` blocks.
        rank: of LoRA.
        steps, batch_size, learning_rate, weight_decay, temperature: of AdamW and InfoNCE.
        micro_batch: so many items pass through a network at once; the loss still compares the whole batch.
        precision: of the products, by autocast; weights and optimiser stay float32.
        seed: of the linear maps, LoRA and the batches.
    """

    mode: Mode = "frozen"
    dim: int = 128
    blocks: int = 2
    rank: int = 8
    steps: int = 100
    batch_size: int = 32
    micro_batch: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    temperature: float = 0.07
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode) or self.precision not in get_args(Precision):
            raise ValueError(f"mode must be one of {get_args(Mode)} and precision of {get_args(Precision)}, "
                             f"got {self.mode!r} and {self.precision!r}")  # fmt: skip
        if min(self.dim, self.blocks, self.rank, self.steps, self.micro_batch) < 1 or self.batch_size < 2:
            raise ValueError("dim, blocks, rank, steps and micro_batch must be at least 1, batch_size 2")
        if not (self.learning_rate > 0 and self.temperature > 0 and self.weight_decay >= 0):
            raise ValueError("need learning_rate > 0, temperature > 0 and weight_decay >= 0")


class TunedEncoder(BatchEncoder):
    """A hub encoder's copy that is trained further, and a linear map into the shared space. It encodes as any encoder.

    The network stays in evaluation mode: no dropout, and running statistics as they came, so that an item's vector
    depends on no other item, in training neither.

    Args:
        encoder: what `load_encoder` returns for a hub name. It is not changed.
        settings: its mode, blocks, rank, dim, precision and seed count here.

    Raises:
        TypeError: if the encoder is not of the hub tier.
        ValueError: if the mode does not fit the network.
    """

    def __init__(self, encoder: Any, settings: FineTuneSettings) -> None:
        if not (hasattr(encoder, "features") and hasattr(encoder, "tower")):
            raise TypeError(f"expected an encoder of the hub tier, got {type(encoder).__name__}; "
                            "load_encoder('hub:owner/name@revision', modality=…) gives one")  # fmt: skip
        self.encoder, self.modality, self.dim = copy.copy(encoder), encoder.modality, settings.dim
        self.device, self.precision, self.start = encoder.device, settings.precision, encoder.fingerprint
        self.encoder.network = set_mode(
            encoder, settings.mode, blocks=settings.blocks, rank=settings.rank, seed=settings.seed
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.map = nn.Linear(encoder.dim, settings.dim).to(encoder.device)

    def weights(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        own = {f"map.{name}": p for name, p in self.map.named_parameters()}
        return own | {f"tower.{n}": p for n, p in self.encoder.tower.named_parameters() if p.requires_grad}

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Of the model it came from and what was learnt."""
        arrays = {name: p.detach().cpu().numpy() for name, p in self.weights().items()}
        return fingerprint_of("TunedEncoder", 1, self.start, self.precision, array_digest(arrays))

    def prepare(self, item: Any) -> Any:
        return self.encoder.prepare(item)

    def features(self, prepared: list[Any]) -> Tensor:
        """(n, dim), rows of length 1, with gradients."""
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            mapped = self.map(self.encoder.features(prepared))
        return F.normalize(mapped.float(), dim=-1)

    @torch.no_grad()
    def embed(self, prepared: list[Any]) -> np.ndarray:
        return self.features(prepared).cpu().numpy()


@dataclass(frozen=True, eq=False)
class TunedPair:
    """What `fine_tune_pair` returns: two encoders of one space, and the loss of each step."""

    left: TunedEncoder
    right: TunedEncoder
    history: list[float]

    def weights(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        sides = {"left": self.left, "right": self.right}
        return {f"{side}.{name}": p for side, tower in sides.items() for name, p in tower.weights().items()}


def fine_tune_pair(
    left: Any,
    right: Any,
    x: Sequence[Any],
    y: Sequence[Any],
    *,
    settings: FineTuneSettings | None = None,
    concepts: Sequence[Any] | None = None,
    checkpoint: Path | None = None,
    every: int = 50,
    after_step: Callable[[int, float], object] | None = None,
    progress: bool = True,
) -> TunedPair:
    """Train copies of two hub encoders by symmetric InfoNCE, with a linear map each into a shared space.

    Micro-batches: InfoNCE compares all items of a batch, so plain accumulation, which averages the losses of small
    batches, would have fewer negatives and be another loss. Instead every micro-batch is embedded without gradients,
    the loss of the whole batch gives each vector's gradient, and the micro-batches are embedded once more to pass it
    on. The result equals one large batch, for one more forward pass.

    Args:
        left, right: encoders of the hub tier; not changed. They compute where they were loaded, by ``device``.
        x, y: as many items, x[i] belonging to y[i].
        settings: see `FineTuneSettings`.
        concepts: (n,) items of one concept are not held against each other.
        checkpoint: a file, written each ``every`` steps and at the end. If it is there, training goes on from it, and
            on one thread of a CPU ends with the same bits as without the interruption. With a larger ``steps`` a
            finished training goes on. `load_tuned_pair` gives back the encoders.
        after_step: called with the number of steps done and the loss.
        progress: show a bar with the loss.

    Raises:
        ValueError: if there are not as many items, two different ones at least; the loss is not finite; or the
            checkpoint is damaged, of another training, or of more steps.
        TypeError: if an encoder is not of the hub tier.

    References:
        van den Oord et al. (2018), arXiv:1807.03748; gradients by micro-batch: Gao et al. (2021), arXiv:2101.06983.
    """
    how = settings or FineTuneSettings()
    if len(x) != len(y) or every < 1:
        raise ValueError(f"need as many items on both sides, and every >= 1; got {len(x)}, {len(y)} and {every}")
    codes = torch.arange(len(x)) if concepts is None else torch.as_tensor(np.unique(concepts, return_inverse=True)[1])
    if len(codes) != len(x) or len(codes.unique()) < 2:
        raise ValueError(f"need {len(x)} concepts, two different ones at least; got {codes.tolist()[:10]}")
    pair = TunedPair(TunedEncoder(left, how), TunedEncoder(right, how), [])
    weights = pair.weights()
    optimizer = torch.optim.AdamW(list(weights.values()), lr=how.learning_rate, weight_decay=how.weight_decay)
    rng = torch.Generator().manual_seed(how.seed)
    facts: dict[str, Any] = {}
    if checkpoint is not None:
        same_settings = {name: value for name, value in asdict(how).items() if name != "steps"}
        items = [fingerprint_of_items(x), fingerprint_of_items(y), fingerprint_of(codes.tolist())]
        facts = {"settings": same_settings, "models": [left.fingerprint, right.fingerprint], "items": items}
        if checkpoint.exists():
            kept = read_checkpoint(checkpoint)
            kept.require(facts)
            kept.restore_weights(weights)
            kept.restore_training(optimizer, rng)
            pair.history.extend(kept.facts["history"])
            if len(pair.history) > how.steps:
                raise ValueError(f"the checkpoint {checkpoint} has {len(pair.history)} steps, more than {how.steps}; "
                                 "name another file, or take it as it is by load_tuned_pair")  # fmt: skip
    with progress_bar(how.steps, "Fine-tuning", progress, "step") as bar:
        bar.update(len(pair.history))
        for step in range(len(pair.history) + 1, how.steps + 1):
            rows = torch.randperm(len(x), generator=rng)[: how.batch_size]
            prepared = [[t.prepare(part[i]) for i in rows.tolist()] for t, part in ((pair.left, x), (pair.right, y))]
            optimizer.zero_grad()
            loss = backward(pair, prepared, how, codes[rows, None] == codes[rows])
            if not math.isfinite(loss):
                raise ValueError(f"the loss is {loss} in step {step}; try a smaller learning_rate")
            optimizer.step()
            pair.history.append(loss)
            if checkpoint is not None and (step % every == 0 or step == how.steps):
                save_checkpoint(checkpoint, weights, optimizer, rng, {**facts, "history": pair.history})
            if after_step:
                after_step(step, loss)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
    return pair


def load_tuned_pair(checkpoint: Path, left: Any, right: Any) -> TunedPair:
    """The two encoders of a checkpoint that `fine_tune_pair` wrote, finished or not, without their training items.

    Args:
        checkpoint: the file.
        left, right: the encoders that the training started from; the file holds only what was learnt.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or was written for other encoders.
    """
    kept = read_checkpoint(checkpoint)
    kept.require({"models": [left.fingerprint, right.fingerprint]})
    how = FineTuneSettings(**kept.facts["settings"])
    pair = TunedPair(TunedEncoder(left, how), TunedEncoder(right, how), kept.facts["history"])
    kept.restore_weights(pair.weights())
    return pair


def backward(pair: TunedPair, prepared: list[list[Any]], how: FineTuneSettings, same: Tensor) -> float:
    """Leave the gradients of a whole batch in the weights, and return its loss."""
    towers = (pair.left, pair.right)
    parts = [[own[i : i + how.micro_batch] for i in range(0, len(own), how.micro_batch)] for own in prepared]
    whole = len(parts[0]) == 1
    with torch.set_grad_enabled(whole):
        ends = [torch.cat([t.features(p) for p in own]) for t, own in zip(towers, parts, strict=True)]
    leaves = ends if whole else [end.requires_grad_() for end in ends]
    device = leaves[0].device
    loss = info_nce(leaves[0], leaves[1].to(device), how.temperature, same.to(device))
    loss.backward()
    if not whole:
        for tower, own, leaf in zip(towers, parts, leaves, strict=True):
            assert leaf.grad is not None
            for part, gradient in zip(own, leaf.grad.split(how.micro_batch), strict=True):
                tower.features(part).backward(gradient)
    return float(loss.detach())
