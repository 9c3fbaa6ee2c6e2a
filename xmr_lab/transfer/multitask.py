"""Multi-task learning: two towers that, while they learn to match, also learn to name what they see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from xmr_lab._validation import check_pairs
from xmr_lab.matching import TwoTower, info_nce
from xmr_lab.matching.two_tower import _Tower

__all__ = ["MultiTaskTowers", "Task"]


@dataclass(frozen=True, eq=False)
class Task:
    """Something to be told from the shared space, beside which pairs belong together.

    Attributes:
        labels: (n_pairs,) the category, the language … of each pair.
        weight: of its loss, at least 0; that of matching is 1.
        views: which towers are asked. The language of a spoken caption can only be told from the speech: ``(0,)``.
    """

    labels: np.ndarray
    weight: float = 0.3
    views: tuple[int, ...] = (0, 1)

    def __post_init__(self) -> None:
        if not 0 <= self.weight < np.inf or not self.views or not set(self.views) <= {0, 1}:
            raise ValueError(f"need a finite weight >= 0 and views among 0 and 1, got {self.weight} and {self.views}")


class MultiTaskTowers(TwoTower):
    r"""`xmr_lab.matching.TwoTower` with one linear head a task on the shared space.

    Minimises :math:`\mathcal{L}_\text{InfoNCE} + \sum_t w_t \, \tfrac{1}{|V_t|} \sum_{v \in V_t}
    \operatorname{CE}(H_t z_v, \text{label}_t)`, where the towers of a task share its head :math:`H_t`. With all
    weights 0 it is `TwoTower`, number by number. The heads are needed in training only; ``heads_`` keeps them.

    Args:
        tasks: the further tasks, with labels for the pairs that `fit` will see.
        epochs, batch_size, learning_rate, weight_decay, dropout, seed: as for `TwoTower`, as ``dim``, ``hidden`` and
            ``temperature``. All epochs are run: what is best for matching is to be found out on validation data.

    References:
        Caruana (1997), doi:10.1023/A:1007379606734.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x, y, kind = rng.normal(size=(20, 5)), rng.normal(size=(20, 4)), np.repeat(["cat", "dog"], 10)
        >>> MultiTaskTowers([Task(kind)], dim=3, epochs=2).fit(x, y).transform(x).shape
        (20, 3)
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        dim: int = 256,
        hidden: int = 0,
        temperature: float = 0.07,
        epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        dropout: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(
            dim, hidden=hidden, temperature=temperature, epochs=epochs, batch_size=batch_size,
            learning_rate=learning_rate, weight_decay=weight_decay, dropout=dropout, seed=seed,
        )  # fmt: skip
        self.tasks = list(tasks)

    def fit(self, x: np.ndarray, y: np.ndarray, *, concepts: np.ndarray | None = None) -> MultiTaskTowers:  # type: ignore[override]
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Args:
            concepts: (n,) rows of the same concept are not held against each other.

        Raises:
            ValueError: for shapes that do not pair, NaN, or labels that are not one for each pair.
        """
        x, y = check_pairs(x, y)
        for labels in [task.labels for task in self.tasks] + ([] if concepts is None else [concepts]):
            if np.shape(labels) != (len(x),):
                raise ValueError(
                    f"labels and concepts need one entry for each of {len(x)} pairs, got {np.shape(labels)}"
                )
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        self.scales_ = tuple(float(np.sqrt(view.var(axis=0).mean())) or 1.0 for view in (x, y))
        views = [self._tensor(view, i) for i, view in enumerate((x, y))]
        names = np.arange(len(x)) if concepts is None else np.unique(concepts, return_inverse=True)[1]
        codes = torch.as_tensor(names)
        self.classes_, targets = [], []
        for task in self.tasks:
            classes, found = np.unique(np.asarray(task.labels), return_inverse=True)
            self.classes_.append(classes)
            targets.append(torch.as_tensor(found))

        with torch.random.fork_rng(
            devices=[]
        ):  # drawn in the order of TwoTower, so that weight 0 gives the same towers
            torch.manual_seed(self.seed)
            self.towers_ = nn.ModuleList(_Tower(v.shape[1], self.dim, self.hidden, self.dropout) for v in views)
            log_temperature = nn.Parameter(torch.tensor(self.temperature).log())
            self.heads_ = nn.ModuleList(nn.Linear(self.dim, len(c), device="meta") for c in self.classes_)
            self.heads_.to_empty(device="cpu")
            for parameter in self.heads_.parameters():
                nn.init.zeros_(parameter)  # a linear head needs no random start
            groups = [{"params": self.towers_.parameters(), "weight_decay": self.weight_decay},
                      {"params": [log_temperature, *self.heads_.parameters()], "weight_decay": 0.0}]  # fmt: skip
            optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
            self.history_ = []
            for _ in range(self.epochs):
                losses = []
                for rows in torch.randperm(len(x)).split(self.batch_size):
                    if len(rows) < 2:
                        continue
                    ends = [tower(view[rows]) for tower, view in zip(self.towers_, views, strict=True)]
                    matching = info_nce(ends[0], ends[1], log_temperature.exp(), codes[rows, None] == codes[None, rows])
                    loss = matching
                    for task, head, target in zip(self.tasks, self.heads_, targets, strict=True):
                        logits = [head(ends[view]) / log_temperature.exp() for view in task.views]
                        named = torch.stack([F.cross_entropy(each, target[rows]) for each in logits]).mean()
                        loss = loss + task.weight * named
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append((matching.item(), loss.item()))
                schedule.step()
                self.history_.append(dict(zip(("matching", "loss"), np.mean(losses, axis=0).tolist(), strict=True)))
        self.towers_.eval()
        self.temperature_ = log_temperature.exp().item()
        return self
