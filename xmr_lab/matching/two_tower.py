"""Two small networks, one for each view, trained so that pairs meet."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import trange

from xmr_lab._validation import check_pairs, check_view, require_fitted

from .losses import Duplicates, Mining, info_nce, sigmoid_loss, triplet_loss

__all__ = ["TwoTower"]

Loss = Literal["info_nce", "sigmoid", "triplet"]


class _Tower(nn.Module):
    """A linear map, plus a small correction of it by hidden layers, if there are any."""

    def __init__(self, dim_in: int, dim: int, hidden: int | tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(dim_in, dim)
        widths = (hidden,) * (hidden > 0) if isinstance(hidden, int) else hidden
        layers: list[nn.Module] = []
        for before, width in zip((dim_in, *widths), widths, strict=False):
            layers += [nn.Dropout(dropout), nn.Linear(before, width), nn.GELU()]
        if layers:
            layers += [nn.Dropout(dropout), nn.Linear(widths[-1], dim)]
        self.correction = nn.Sequential(*layers) if layers else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(self.dropout(x))
        return F.normalize(out + self.correction(x) if self.correction else out, dim=-1)


class TwoTower:
    """A dual encoder over cached features.

    Args:
        dim: width of the shared space.
        hidden: width of each tower's hidden layer, or of several; 0 leaves the towers linear.
        loss: `info_nce`, `sigmoid_loss` or `triplet_loss`.
        temperature: of the first two losses; its logarithm is trained from this value.
        duplicates: what `info_nce` makes of rows of the same concept.
        margin, mining: of the triplet loss.
        epochs, batch_size, learning_rate, weight_decay, dropout: of the AdamW training, cosine schedule.
        patience: stop when the loss on ``validation`` has not fallen for so many epochs; the best epoch is kept.
        seed: of the initial weights, the batches and the dropout.
        progress: show a bar.

    References:
        Radford et al. (2021), arXiv:2103.00020.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        hidden: int | tuple[int, ...] = 0,
        loss: Loss = "info_nce",
        temperature: float = 0.07,
        duplicates: Duplicates = "left out",
        margin: float = 0.2,
        mining: Mining = "all",
        epochs: int = 60,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        dropout: float = 0.3,
        patience: int = 10,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        if loss not in get_args(Loss) or mining not in get_args(Mining):
            raise ValueError(f"loss must be one of {get_args(Loss)} and mining of {get_args(Mining)}, "
                             f"got {loss!r} and {mining!r}")  # fmt: skip
        if duplicates not in get_args(Duplicates):
            raise ValueError(f"duplicates must be one of {get_args(Duplicates)}, got {duplicates!r}")
        if not (temperature > 0 and margin > 0):
            raise ValueError(f"temperature and margin must be positive, got {temperature} and {margin}")
        if batch_size < 2:
            raise ValueError(f"each loss compares with other rows: batch_size must be at least 2, got {batch_size}")
        self.dim, self.hidden, self.temperature, self.epochs = dim, hidden, temperature, epochs
        self.loss, self.duplicates, self.margin, self.mining = loss, duplicates, margin, mining
        self.batch_size, self.learning_rate, self.weight_decay = batch_size, learning_rate, weight_decay
        self.dropout, self.patience, self.seed, self.progress = dropout, patience, seed, progress

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        concepts: np.ndarray | None = None,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        after_epoch: Callable[[TwoTower], object] | None = None,
    ) -> TwoTower:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Args:
            concepts: (n,) rows of the same concept are not held against each other.
            validation: a pair (x, y) that decides when to stop. Without it, all epochs are run.
            after_epoch: called with this matcher, which can ``transform``, before the first epoch and after each.
        """
        x, y = check_pairs(x, y)
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        self.scales_ = tuple(float(np.sqrt(view.var(axis=0).mean())) or 1.0 for view in (x, y))
        views = [self._tensor(view, i) for i, view in enumerate((x, y))]
        held_out = [self._tensor(view, i) for i, view in enumerate(check_pairs(*validation))] if validation else None
        names = np.arange(len(x)) if concepts is None else np.unique(concepts, return_inverse=True)[1]
        if len(names) != len(x):
            raise ValueError(f"concepts must have one entry for each of {len(x)} pairs, got {len(names)}")
        codes = torch.as_tensor(names)
        look = after_epoch or (lambda _: None)

        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self.towers_ = nn.ModuleList(_Tower(v.shape[1], self.dim, self.hidden, self.dropout) for v in views).eval()
            log_temperature = nn.Parameter(torch.tensor(self.temperature).log())
            # as likely to be partners as the rows of a batch are at random
            bias = nn.Parameter(-torch.tensor(min(self.batch_size, len(x)) - 1.0).log())
            groups = [{"params": self.towers_.parameters(), "weight_decay": self.weight_decay},
                      {"params": [log_temperature, bias], "weight_decay": 0.0}]  # fmt: skip
            optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)

            def loss_of(ends: list[Tensor], same: Tensor | None = None) -> Tensor:
                if self.loss == "triplet":
                    return triplet_loss(ends[0], ends[1], same, margin=self.margin, mining=self.mining)
                if self.loss == "sigmoid":
                    return sigmoid_loss(ends[0], ends[1], log_temperature.exp(), bias, same)
                return info_nce(ends[0], ends[1], log_temperature.exp(), same, duplicates=self.duplicates)

            self.history_: list[dict[str, float]] = []
            best, waited, kept = np.inf, 0, None
            look(self)
            for _ in trange(self.epochs, desc="two-tower", unit="epoch", disable=not self.progress, leave=False):
                self.towers_.train()
                losses = []
                for rows in torch.randperm(len(x)).split(self.batch_size):
                    if len(rows) < 2:
                        continue
                    same = codes[rows, None] == codes[None, rows]
                    loss = loss_of([tower(view[rows]) for tower, view in zip(self.towers_, views, strict=True)], same)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
                schedule.step()
                self.towers_.eval()
                self.history_.append({"loss": float(np.mean(losses))})
                look(self)
                if held_out is None:
                    continue
                with torch.no_grad():
                    now = loss_of([tower(view) for tower, view in zip(self.towers_, held_out, strict=True)]).item()
                self.history_[-1]["validation_loss"] = now
                if now < best:
                    best, waited = now, 0
                    kept = copy.deepcopy(self.towers_.state_dict()), log_temperature.item()
                elif (waited := waited + 1) >= self.patience:
                    break
        if kept:
            self.towers_.load_state_dict(kept[0])
        self.temperature_ = float(np.exp(kept[1] if kept else log_temperature.item()))
        return self

    def _tensor(self, x: np.ndarray, view: int) -> Tensor:
        return torch.as_tensor((x - self.means_[view]) / self.scales_[view], dtype=torch.float32)

    @torch.no_grad()
    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the shared space, (n, dim) float32 of length 1."""
        require_fitted(self, "towers_")
        x = check_view(x, view, *map(len, self.means_))
        return self.towers_[view](self._tensor(x, view)).numpy()
