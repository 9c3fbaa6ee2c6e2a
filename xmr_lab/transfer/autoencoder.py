"""Features from rows without labels: a network that has to restore what noise has spoiled."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .shift import check_rows

__all__ = ["DenoisingAutoencoder"]


class DenoisingAutoencoder:
    r"""Squeeze each row through a few numbers (the code) and restore it: the code is the feature.

    Minimises :math:`\lVert x - g(f(x + \eta)) \rVert^2` over encoder :math:`f` and decoder :math:`g`, with new
    noise :math:`\eta` in every step. Linear and without noise, it finds the space of the principal components.

    Args:
        dim: width of the code.
        hidden: width of a hidden layer before and after it; 0 leaves both maps linear.
        noise: standard deviation of the noise, relative to that of the data.
        steps, batch_size, learning_rate: of the Adam training, with a cosine schedule.
        seed: of the initial weights, the batches and the noise.

    References:
        Vincent et al. (2008), doi:10.1145/1390156.1390294; the linear one: Baldi & Hornik (1989),
        doi:10.1016/0893-6080(89)90014-2.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(100, 2)) @ [[1.0, 2, 3], [3, 1, 0]]
        >>> encoder = DenoisingAutoencoder(2, noise=0, steps=500).fit(x)
        >>> encoder.transform(x).shape, bool(np.abs(encoder.reconstruct(x) - x).mean() < 0.1)
        ((100, 2), True)
    """

    def __init__(
        self,
        dim: int = 32,
        *,
        hidden: int = 0,
        noise: float = 0.5,
        steps: int = 300,
        batch_size: int = 128,
        learning_rate: float = 1e-2,
        seed: int = 0,
    ) -> None:
        if min(dim, steps, batch_size) < 1 or hidden < 0 or not noise >= 0:
            raise ValueError(
                "need dim, steps and batch_size of at least 1, hidden and noise of at least 0; "
                f"got {dim}, {steps}, {batch_size}, {hidden} and {noise}"
            )
        self.dim, self.hidden, self.noise, self.steps = dim, hidden, noise, steps
        self.batch_size, self.learning_rate, self.seed = batch_size, learning_rate, seed

    def fit(self, x: np.ndarray) -> DenoisingAutoencoder:
        """Fit to rows ``x`` (n, d).

        Raises:
            ValueError: for NaN, wrong shapes, fewer than two rows, or a code as wide as the rows.
        """
        x = check_rows(x, "x")
        if len(x) < 2 or self.dim >= x.shape[1]:
            raise ValueError(f"need two rows and a code (dim={self.dim}) narrower than the rows, got {x.shape}")
        self.mean_, self.scale_ = x.mean(axis=0), float(np.sqrt(x.var(axis=0).mean())) or 1.0
        rows = self._tensor(x)
        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self.encoder_, self.decoder_ = self._half(x.shape[1], self.dim), self._half(self.dim, x.shape[1])
            both = nn.ModuleList([self.encoder_, self.decoder_])
            optimizer = torch.optim.Adam(both.parameters(), lr=self.learning_rate, fused=True)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
            self.history_: list[float] = []
            for _ in range(self.steps):
                batch = rows[torch.randperm(len(rows))[: self.batch_size]]
                spoiled = batch + self.noise * torch.randn_like(batch)
                loss = F.mse_loss(self.decoder_(self.encoder_(spoiled)), batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                self.history_.append(loss.item())
        return self

    def _half(self, wide: int, narrow: int) -> nn.Module:
        if not self.hidden:
            return nn.Linear(wide, narrow)
        return nn.Sequential(nn.Linear(wide, self.hidden), nn.GELU(), nn.Linear(self.hidden, narrow))

    def _tensor(self, x: np.ndarray) -> Tensor:
        if not hasattr(self, "mean_"):
            raise RuntimeError("this DenoisingAutoencoder is not fitted yet; call fit(x) first")
        x = check_rows(x, "x")
        if x.shape[1] != len(self.mean_):
            raise ValueError(f"this DenoisingAutoencoder was fitted with {len(self.mean_)} columns, got {x.shape[1]}")
        return torch.as_tensor((x - self.mean_) / self.scale_, dtype=torch.float32)

    @torch.no_grad()
    def transform(self, x: np.ndarray) -> np.ndarray:
        """The codes, (n, dim) float32, of rows without noise."""
        rows = self._tensor(x)
        return self.encoder_(rows).numpy()

    @torch.no_grad()
    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """Rows (n, d) float32 as the decoder restores them."""
        rows = self._tensor(x)
        restored = self.decoder_(self.encoder_(rows)).numpy()
        return (restored * self.scale_ + self.mean_).astype(np.float32)
