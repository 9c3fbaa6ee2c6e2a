"""Deep canonical correlation analysis: two networks whose outputs agree as much as CCA can make them."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from xmr_lab._validation import check_pairs, check_view, require_fitted

from .cca import CCA

__all__ = ["DeepCCA", "cca_loss"]


def cca_loss(x: Tensor, y: Tensor, *, n_components: int | None = None, regularization: float = 0.1) -> Tensor:
    r"""Minus the sum of the first canonical correlations of two batches, as `CCA` finds them.

    With :math:`\Sigma_{xx} = L_x L_x^\top`, these are the singular values of :math:`L_x^{-1} \Sigma_{xy} L_y^{-\top}`.
    It is a loss of the *batch*: no part of it belongs to one pair.

    Args:
        x, y: (n, d_x) and (n, d_y), row i of one belonging to row i of the other.
        n_components: how many to add up; all by default.
        regularization: the share of the identity in each covariance, as in `CCA`.

    References:
        Andrew et al. (2013), Deep canonical correlation analysis, ICML 28(3), 1247-1255 (who add a multiple of the
        identity to the covariances instead).
    """
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    whitened = []
    for view in (x, y):
        covariance = view.T @ view / len(view)  # (d, d)
        ridge = regularization * covariance.trace() / len(covariance)
        identity = torch.eye(len(covariance), dtype=view.dtype, device=view.device)
        factor = torch.linalg.cholesky((1 - regularization) * covariance + ridge * identity)
        whitened.append(torch.linalg.solve_triangular(factor, view.T, upper=False))  # (d, n)
    correlations = torch.linalg.svdvals(whitened[0] @ whitened[1].T / len(x))
    return -correlations[:n_components].sum()


class DeepCCA:
    """Two networks trained on all pairs at once by `cca_loss`, and `CCA` of what they put out.

    Args:
        dim: width of the networks' outputs, and number of directions.
        hidden: widths of each network's hidden layers; ``()`` leaves it linear: then this is CCA, found by descent, and
            kept from its optimum by weight decay, dropout and early stopping.
        regularization: of `cca_loss` and of the final `CCA`; above 0, if there may be fewer pairs than ``dim``.
        power: of the final `CCA`.
        epochs, learning_rate, weight_decay, dropout: of the AdamW training, one step an epoch, cosine schedule.
        patience: stop when the loss on ``validation`` has not fallen for so many epochs; the best epoch is kept.
        seed: of the initial weights and the dropout.

    References:
        Andrew et al. (2013), Deep canonical correlation analysis, ICML 28(3), 1247-1255.
    """

    def __init__(
        self,
        dim: int = 64,
        *,
        hidden: tuple[int, ...] = (256,),
        regularization: float = 0.1,
        power: float = 1.0,
        epochs: int = 100,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.1,
        dropout: float = 0.3,
        patience: int = 20,
        seed: int = 0,
    ) -> None:
        if not 0 < regularization <= 1:
            raise ValueError(f"regularization must lie in (0, 1], got {regularization}")
        if dim < 1 or epochs < 1:
            raise ValueError(f"dim and epochs must be at least 1, got {dim} and {epochs}")
        self.dim, self.hidden, self.regularization, self.power = dim, hidden, regularization, power
        self.epochs, self.learning_rate, self.weight_decay = epochs, learning_rate, weight_decay
        self.dropout, self.patience, self.seed = dropout, patience, seed

    def fit(self, x: np.ndarray, y: np.ndarray, *, validation: tuple[np.ndarray, np.ndarray] | None = None) -> DeepCCA:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Args:
            validation: a pair (x, y) that decides when to stop. Without it, all epochs are run.
        """
        x, y = check_pairs(x, y)
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        self.scales_ = tuple(float(np.sqrt(view.var(axis=0).mean())) or 1.0 for view in (x, y))
        views = [self._tensor(view, i) for i, view in enumerate((x, y))]
        held_out = [self._tensor(view, i) for i, view in enumerate(check_pairs(*validation))] if validation else None
        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self.networks_ = nn.ModuleList(self._network(view.shape[1]) for view in views)
            optimizer = torch.optim.AdamW(
                self.networks_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
            )
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
            self.history_: list[dict[str, float]] = []
            best, waited, kept = np.inf, 0, None
            for _ in range(self.epochs):
                self.networks_.train()
                loss = self._loss(views)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                self.history_.append({"loss": loss.item()})
                if held_out is None:
                    continue
                self.networks_.eval()
                with torch.no_grad():
                    now = self._loss(held_out).item()
                self.history_[-1]["validation_loss"] = now
                if now < best:
                    best, waited, kept = now, 0, copy.deepcopy(self.networks_.state_dict())
                elif (waited := waited + 1) >= self.patience:
                    break
        if kept:
            self.networks_.load_state_dict(kept)
        self.networks_.eval()
        self.cca_ = CCA(self.dim, regularization=self.regularization, power=self.power)
        self.cca_.fit(*(self._outputs(view, i) for i, view in enumerate((x, y))))
        return self

    def _network(self, dim_in: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, width in zip((dim_in, *self.hidden), self.hidden, strict=False):
            layers += [nn.Dropout(self.dropout), nn.Linear(before, width), nn.GELU()]
        return nn.Sequential(*layers, nn.Dropout(self.dropout), nn.Linear((dim_in, *self.hidden)[-1], self.dim))

    def _loss(self, views: list[Tensor]) -> Tensor:
        ends = [network(view) for network, view in zip(self.networks_, views, strict=True)]
        return cca_loss(ends[0], ends[1], regularization=self.regularization)

    def _tensor(self, x: np.ndarray, view: int) -> Tensor:
        return torch.as_tensor((x - self.means_[view]) / self.scales_[view], dtype=torch.float32)

    @torch.no_grad()
    def _outputs(self, x: np.ndarray, view: int) -> np.ndarray:
        return self.networks_[view](self._tensor(x, view)).numpy()

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the shared space, (n, dim) float32 of length 1."""
        require_fitted(self, "cca_")
        return self.cca_.transform(self._outputs(check_view(x, view, *map(len, self.means_)), view), view)
