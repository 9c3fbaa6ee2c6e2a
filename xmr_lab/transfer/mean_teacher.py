"""Mean teacher: a student that should agree, on unpaired items, with the average of its own past."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xmr_lab._validation import check_pairs, check_view, require_fitted, unit
from xmr_lab.matching import info_nce

__all__ = ["MeanTeacher", "update_average"]


@torch.no_grad()
def update_average(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    r"""One step of the teacher: :math:`\theta' \leftarrow d\,\theta' + (1-d)\,\theta`, in place.

    Examples:
        >>> teacher, student = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(teacher.weight, 0.0), nn.init.constant_(student.weight, 1.0)
        >>> update_average(teacher, student, 0.75)
        >>> teacher.weight.item()
        0.25
    """
    for average, current in zip(teacher.parameters(), student.parameters(), strict=True):
        average.lerp_(current, 1 - decay)


class MeanTeacher:
    r"""A linear map of the first view into the second's space, trained on pairs, and on unpaired items by consistency.

    What the map predicts for an item is a softmax over items of the second view. Student and teacher see the same
    items under different dropout and should predict the same:

    .. math:: \mathcal{L} = \mathcal{L}_\text{InfoNCE} + w(t)\, \mathbb{E}\, \lVert p_\theta(\eta) - p_{\theta'}(\eta')
        \rVert^2,

    where the teacher's weights are an exponential moving average of the student's. The weight w rises to ``weight``
    during the first half of the training, as the teacher knows nothing at first. The teacher is what remains.

    Args:
        weight: of the consistency; 0 is training on the pairs alone.
        decay: of the moving average, in [0, 1).
        dropout: share of the features that a perturbation erases.
        temperature: of InfoNCE and of the predictions.
        steps, batch_size, learning_rate, weight_decay: of the AdamW training; a batch is drawn from the pairs and one
            from each side's unpaired items.
        seed: of the initial weights, the batches and the dropout.

    References:
        Tarvainen & Valpola (2017), arXiv:1703.01780.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        decay: float = 0.95,
        dropout: float = 0.3,
        temperature: float = 0.1,
        steps: int = 100,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        seed: int = 0,
    ) -> None:
        if weight < 0 or not 0 <= decay < 1 or not 0 <= dropout < 1 or not temperature > 0:
            raise ValueError(
                "need weight >= 0, decay and dropout in [0, 1) and temperature > 0; "
                f"got {weight}, {decay}, {dropout}, {temperature}"
            )
        if batch_size < 2 or steps < 1:
            raise ValueError(f"need batch_size >= 2 and steps >= 1, got {batch_size} and {steps}")
        self.weight, self.decay, self.dropout, self.temperature = weight, decay, dropout, temperature
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate
        self.weight_decay, self.seed = weight_decay, seed

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        unpaired_x: np.ndarray | None = None,
        unpaired_y: np.ndarray | None = None,
    ) -> MeanTeacher:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y), and to unpaired rows of either, in any order.

        A side without unpaired items lends its paired ones to the predictions.

        Raises:
            ValueError: for shapes that do not fit, or NaN.
        """
        x, y = check_pairs(x, y)
        dims = x.shape[1], y.shape[1]
        free_x = x if unpaired_x is None else check_view(unpaired_x, 0, *dims)
        free_y = y if unpaired_y is None else check_view(unpaired_y, 1, *dims)
        all_x, all_y = np.concatenate([x, free_x]), np.concatenate([y, free_y])
        self.means_ = all_x.mean(axis=0), all_y.mean(axis=0)
        self.scale_ = float(np.sqrt(all_x.var(axis=0).mean())) or 1.0
        paired, gallery = self._tensor(x), torch.as_tensor(unit(y - self.means_[1]))
        free, free_gallery = self._tensor(free_x), torch.as_tensor(unit(free_y - self.means_[1]))
        consistent = self.weight > 0 and not (unpaired_x is None and unpaired_y is None)

        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self.student_ = nn.Linear(*dims)
            self.teacher_ = copy.deepcopy(self.student_).requires_grad_(False)
            optimizer = torch.optim.AdamW(
                self.student_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
            )
            self.history_: list[dict[str, float]] = []
            for step in range(self.steps):
                rows = self._batch(paired)
                loss = info_nce(self._perturbed(self.student_, paired[rows]), gallery[rows], self.temperature)
                self.history_.append({"loss": loss.item()})
                if consistent:
                    some, over = free[self._batch(free)], free_gallery[self._batch(free_gallery)]
                    target = self._predict(self.teacher_, some, over)
                    apart = (self._predict(self.student_, some, over) - target).square().sum(dim=1).mean()
                    self.history_[-1]["disagreement"] = apart.item()
                    ramp = math.exp(-5 * max(0, 1 - 2 * step / self.steps) ** 2)
                    loss = loss + self.weight * ramp * apart
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                # the plain mean of the first steps, so that the random start is forgotten at once
                update_average(self.teacher_, self.student_, min(self.decay, 1 - 1 / (step + 1)))
        return self

    def _batch(self, items: Tensor) -> Tensor:
        return torch.randperm(len(items))[: self.batch_size]

    def _perturbed(self, tower: nn.Module, items: Tensor) -> Tensor:
        return F.normalize(tower(F.dropout(items, self.dropout)), dim=-1)

    def _predict(self, tower: nn.Module, items: Tensor, gallery: Tensor) -> Tensor:
        """(n_items, n_gallery) probabilities, under fresh dropout."""
        return (self._perturbed(tower, items) @ gallery.T / self.temperature).softmax(dim=1)

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.as_tensor((x - self.means_[0]) / self.scale_, dtype=torch.float32)

    @torch.no_grad()
    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the second view's space as the teacher sees it, (n, d_y) float32 of length 1."""
        require_fitted(self, "teacher_")
        x = check_view(x, view, *map(len, self.means_))
        if view == 1:
            return unit(x - self.means_[1])
        return F.normalize(self.teacher_(self._tensor(x)), dim=-1).numpy()
