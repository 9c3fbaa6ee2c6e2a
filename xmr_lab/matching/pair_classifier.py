"""A network that looks at both halves of a pair at once, and says whether they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import trange

from xmr_lab._validation import check_pairs, check_view, require_fitted

__all__ = ["PairClassifier"]

Fusion = Literal["concatenate", "mean"]
AT_ONCE = 2**22  # numbers of the first hidden layer held at a time


class PairClassifier:
    r"""Concatenate a row of each view, pass them through fully connected layers, and classify: a pair or not?

    Trained by logistic loss on the pairs, and on ``negatives`` rows of the other view drawn for each. The score of a
    pair depends on both rows in a way that no index can prepare: a query has to be passed through the network with
    *every* item of the gallery. Only the first layer is a sum, :math:`W [x; y] = W_x x + W_y y`, whose parts are
    computed once a row. With no hidden layer the whole score is such a sum, and every query ranks alike.

    Args:
        hidden: widths of the hidden layers.
        fusion: ``"mean"`` averages the two rows instead, which then must be equally wide.
        negatives: wrong partners drawn for each pair and step, of each view.
        epochs, batch_size, learning_rate, weight_decay, dropout: of the AdamW training, cosine schedule.
        seed: of the first weights, the batches, the negatives and the dropout.
        progress: show a bar.

    References:
        for recommendation: He et al. (2017), arXiv:1708.05031; that a plain inner product is hard to beat so, and hard
        to learn: Rendle et al. (2020), arXiv:2005.09683.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        *,
        fusion: Fusion = "concatenate",
        negatives: int = 8,
        epochs: int = 60,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        dropout: float = 0.2,
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        if any(width < 1 for width in hidden) or min(negatives, epochs, batch_size) < 1:
            raise ValueError(
                "the widths in hidden, negatives, epochs and batch_size must be at least 1; "
                f"got {tuple(hidden)}, {negatives}, {epochs} and {batch_size}"
            )
        if fusion not in get_args(Fusion):
            raise ValueError(f"unknown fusion {fusion!r}; expected {' or '.join(get_args(Fusion))}")
        if not (learning_rate > 0 and weight_decay >= 0 and 0 <= dropout < 1):
            raise ValueError(
                "need learning_rate > 0, weight_decay >= 0 and 0 <= dropout < 1; "
                f"got {learning_rate}, {weight_decay} and {dropout}"
            )
        self.hidden, self.fusion = tuple(hidden), fusion
        self.negatives, self.epochs, self.batch_size = negatives, epochs, batch_size
        self.learning_rate, self.weight_decay, self.dropout = learning_rate, weight_decay, dropout
        self.seed, self.progress = seed, progress

    def fit(self, x: np.ndarray, y: np.ndarray, *, concepts: np.ndarray | None = None) -> PairClassifier:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y).

        Args:
            concepts: (n,) rows of the same concept are never drawn as wrong partners of each other.

        Raises:
            ValueError: for shapes that do not pair, NaN, or if all rows are of one concept.
        """
        x, y = check_pairs(x, y)
        if self.fusion == "mean" and x.shape[1] != y.shape[1]:
            raise ValueError(f"a mean needs two views of equal width, got {x.shape[1]} and {y.shape[1]} columns")
        codes = np.arange(len(x)) if concepts is None else np.unique(concepts, return_inverse=True)[1]
        if len(codes) != len(x) or len(np.unique(codes)) < 2:
            raise ValueError(f"need {len(x)} concepts, two different ones at least; got {len(codes)}")
        self.means_ = x.mean(axis=0), y.mean(axis=0)
        self.scales_ = tuple(float(np.sqrt(view.var(axis=0).mean())) or 1.0 for view in (x, y))
        left, right = (self._tensor(view, i) for i, view in enumerate((x, y)))
        wrong = torch.as_tensor(codes[:, None] != codes).float()  # (n, n): who may be drawn as whose wrong partner

        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            self._build(x.shape[1], y.shape[1])
            optimizer = torch.optim.AdamW(
                self.network_.parameters(), self.learning_rate, weight_decay=self.weight_decay
            )
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
            self.history_: list[float] = []
            self.network_.train()
            for _ in trange(self.epochs, desc="pairs", unit="epoch", disable=not self.progress, leave=False):
                losses = []
                for rows in torch.randperm(len(x)).split(self.batch_size):
                    drawn = torch.multinomial(wrong[rows], 2 * self.negatives, replacement=True)
                    own = rows.repeat_interleave(self.negatives)
                    others = drawn.view(len(rows), 2, -1).unbind(1)
                    a = torch.cat([rows, own, others[1].flatten()])
                    b = torch.cat([rows, others[0].flatten(), own])
                    target = (torch.arange(len(a)) < len(rows)).float()
                    loss = F.binary_cross_entropy_with_logits(self._logits(left, right, a, b), target)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    losses.append(loss.item())
                schedule.step()
                self.history_.append(float(np.mean(losses)))
        self.network_.eval()
        return self

    def _build(self, d_x: int, d_y: int) -> None:
        widths = [*self.hidden, 1]
        rest: list[nn.Module] = []
        for width, wider in zip(widths[1:], widths[:-1], strict=True):
            rest += [nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(wider, width)]
        # one matrix over the concatenation, written as its two halves; over the mean (or sum), both are the same
        left = nn.Linear(d_x, widths[0])
        right = left if self.fusion == "mean" else nn.Linear(d_y, widths[0], bias=False)
        self.first_ = nn.ModuleList([left, right])
        self.rest_, self.drop_ = nn.Sequential(*rest), nn.Dropout(self.dropout)
        self.network_ = nn.ModuleList([self.first_, self.rest_, self.drop_])

    def _logits(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Of the pairs (x[a], y[b]): (n_pairs,)."""
        left, right = self.first_[0](self.drop_(x)), self.first_[1](self.drop_(y))
        return self.rest_(left[a] + right[b])[:, 0]

    def _tensor(self, x: np.ndarray, view: int) -> Tensor:
        return torch.as_tensor((x - self.means_[view]) / self.scales_[view], dtype=torch.float32)

    @torch.no_grad()
    def scores(self, queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
        """The log odds that a row of the first view and one of the second belong together.

        Args:
            queries: (n_queries, d_x) rows of the first view.
            gallery: (n_gallery, d_y) rows of the second view.

        Returns:
            (n_queries, n_gallery) float32.
        """
        require_fitted(self, "network_")
        widths = [len(mean) for mean in self.means_]
        left, right = (
            self.first_[view](self._tensor(check_view(rows, view, *widths), view))
            for view, rows in enumerate((queries, gallery))
        )  # (n_queries, width), (n_gallery, width)
        step = max(1, AT_ONCE // max(1, right.numel()))
        return torch.cat([self.rest_(part[:, None] + right)[..., 0] for part in left.split(step)]).numpy()
