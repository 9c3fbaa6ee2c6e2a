"""A small network over cached features that is asked for two things: to solve the task on the source, and to make
source and target look alike. What looks alike is judged by a second network (DANN) or by a kernel (MMD)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .shift import check_domains, check_rows

__all__ = ["DANN", "reverse_gradient"]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, strength: float) -> Tensor:  # type: ignore[no-untyped-def, override]
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def, override]
        return -ctx.strength * gradient, None


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """``x`` itself on the way forth; on the way back its gradient times ``-strength``.

    References:
        Ganin et al. (2016), arXiv:1505.07818.

    Examples:
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> (reverse_gradient(x, 0.5) ** 2).backward()
        >>> x.grad
        tensor(-3.)
    """
    return _Reversal.apply(x, strength)


class DANN:
    r"""One hidden layer trained on the labels of the source, and on the domains of all rows the wrong way round.

    Minimises the task's loss on the source plus a penalty on the hidden layer :math:`h` that says how far the
    two domains are apart there:

    - ``"adversarial"``: a discriminator learns to tell :math:`h(x_s)` from :math:`h(x_t)`; the hidden layer gets
      its gradient reversed, times ``strength``. The strength grows from 0 in the course of training.
    - ``"mmd"``: ``strength`` times the squared maximum mean discrepancy of :math:`h(x_s)` and :math:`h(x_t)`,
      with a Gaussian kernel as wide as the mean distance.

    With ``strength=0`` both are plain training on the source.

    Args:
        penalty: which of the two.
        strength: its weight.
        hidden: width of the hidden layer.
        batch_size: rows of each domain in a step.
        steps, learning_rate, weight_decay: of AdamW, with a cosine schedule.
        seed: of the initial weights and the batches.

    References:
        Ganin et al. (2016), arXiv:1505.07818; the MMD penalty: Long et al. (2015), arXiv:1502.02791.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(60, 2)), np.repeat(["left", "right"], 30)
        >>> x[:, 0] += np.where(y == "left", -4, 4)
        >>> net = DANN(steps=50).fit(x, y, x + [0, 5])
        >>> bool((net.predict(x + [0, 5]) == y).mean() > 0.9)
        True
    """

    def __init__(
        self,
        penalty: Literal["adversarial", "mmd"] = "adversarial",
        *,
        strength: float = 1.0,
        hidden: int = 64,
        batch_size: int = 128,
        steps: int = 150,
        learning_rate: float = 1e-2,
        weight_decay: float = 1e-2,
        seed: int = 0,
    ) -> None:
        if penalty not in ("adversarial", "mmd"):
            raise ValueError(f"penalty must be 'adversarial' or 'mmd', got {penalty!r}")
        if not strength >= 0 or min(hidden, steps) < 1 or batch_size < 2:
            raise ValueError(
                "need strength >= 0, hidden >= 1, steps >= 1 and batch_size >= 2, "
                f"got {strength}, {hidden}, {steps} and {batch_size}"
            )
        self.penalty, self.strength, self.hidden, self.batch_size = penalty, strength, hidden, batch_size
        self.steps, self.learning_rate, self.weight_decay, self.seed = steps, learning_rate, weight_decay, seed

    def fit(self, source: np.ndarray, y: np.ndarray, target: np.ndarray) -> DANN:
        """Fit to rows ``source`` (n_s, d) with their ``y``, and rows ``target`` (n_t, d) without.

        Args:
            y: (n_s,) labels, learned by cross-entropy; or (n_s, k) vectors, such as embedded captions, learned
                by the cosine to them once their mean is taken off.

        Raises:
            ValueError: for NaN, wrong shapes, or fewer than two labels.
        """
        source, target = check_domains(source, target)
        y = np.asarray(y)
        self.classes_: np.ndarray | None = None
        if len(y) != len(source):
            raise ValueError(f"y needs one entry for each of {len(source)} source rows, got {len(y)}")
        if y.ndim == 1:
            self.classes_, codes = np.unique(y, return_inverse=True)
            if len(self.classes_) < 2:
                raise ValueError(f"at least two labels are needed, got {self.classes_.tolist()}")
            want, width = torch.as_tensor(codes), len(self.classes_)
        else:
            y = check_rows(y, "y")
            self.y_mean_, width = y.mean(axis=0), y.shape[1]
            want = torch.as_tensor(y - self.y_mean_, dtype=torch.float32)
        both = np.vstack([source, target])
        self.mean_, self.scale_ = both.mean(axis=0), float(both.std(axis=0).mean()) or 1.0
        xs, xt = self._tensor(source), self._tensor(target)
        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self.features_ = nn.Sequential(nn.Linear(source.shape[1], self.hidden), nn.ReLU())
            self.head_ = nn.Linear(self.hidden, width)
            self.critic_ = nn.Sequential(nn.Linear(self.hidden, 64), nn.ReLU(), nn.Linear(64, 1))
            modules = nn.ModuleList([self.features_, self.head_, self.critic_])
            optimizer = torch.optim.AdamW(
                modules.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
            )
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
            self.history_: list[dict[str, float]] = []
            for step in range(self.steps):
                rows, others = (torch.randperm(len(x))[: self.batch_size] for x in (xs, xt))
                hs, ht = self.features_(xs[rows]), self.features_(xt[others])  # (batch, hidden) each
                task = self._task(self.head_(hs), want[rows])
                if self.penalty == "mmd":
                    apart = self.strength * _mmd(hs, ht) if self.strength else task.new_zeros(())
                else:
                    grown = self.strength * (2 / (1 + np.exp(-10 * step / self.steps)) - 1)
                    apart = _told_apart(*(self.critic_(reverse_gradient(h, grown)).squeeze(-1) for h in (hs, ht)))
                optimizer.zero_grad()
                (task + apart).backward()
                optimizer.step()
                schedule.step()
                self.history_.append({"task": task.item(), self.penalty: apart.item()})
        return self

    def _task(self, out: Tensor, want: Tensor) -> Tensor:
        if self.classes_ is not None:
            return F.cross_entropy(out, want)
        return 1 - F.cosine_similarity(out, want).mean()

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.as_tensor((x - self.mean_) / self.scale_, dtype=torch.float32)

    @torch.no_grad()
    def transform(self, x: np.ndarray) -> np.ndarray:
        """The hidden layer, (n, hidden) float32, of rows of either domain."""
        if not hasattr(self, "features_"):
            raise RuntimeError("this DANN is not fitted yet; call fit(source, y, target) first")
        x = check_rows(x, "x")
        if x.shape[1] != len(self.mean_):
            raise ValueError(f"this DANN was fitted with {len(self.mean_)} columns, got {x.shape[1]}")
        return self.features_(self._tensor(x)).numpy()

    @torch.no_grad()
    def predict(self, x: np.ndarray) -> np.ndarray:
        """(n,) labels; or (n, k) float32 vectors of length 1, to be compared with ``y - y_mean_``."""
        out = self.head_(torch.as_tensor(self.transform(x)))
        return F.normalize(out).numpy() if self.classes_ is None else self.classes_[out.argmax(dim=1).numpy()]


def _told_apart(source: Tensor, target: Tensor) -> Tensor:
    """The discriminator's loss, each domain with half the weight."""
    return (F.softplus(-source).mean() + F.softplus(target).mean()) / 2


def _mmd(source: Tensor, target: Tensor) -> Tensor:
    """Squared maximum mean discrepancy; its bandwidth takes part in no gradient."""
    x, m, n = torch.cat([source, target]), len(source), len(target)
    squares = x.square().sum(dim=1)
    distances = torch.addmm(squares[:, None] + squares[None], x, x.T, alpha=-2)  # (m + n, m + n), squared
    kernel = torch.exp(distances / -distances.detach().mean().clamp_min(1e-12))
    signs = torch.cat([x.new_full((m,), 1 / m), x.new_full((n,), -1 / n)])
    return signs @ kernel @ signs  # mean within the source + mean within the target - 2 * mean between them
