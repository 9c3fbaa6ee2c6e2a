"""Transfer by relation: not vectors are passed on from a teacher or a source, but which items are alike."""

from __future__ import annotations

import numpy as np
import torch
from scipy import linalg
from torch import Tensor
from torch.nn import functional as F

from xmr_lab._validation import check_pairs, check_view, unit

from .weighting import WeightedRidgeMap

__all__ = ["RelationMap", "rkd_distance_loss", "similarity_loss"]


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Similarity-preserving distillation: how far the similarities within a batch are from the teacher's.

    :math:`\tfrac{1}{b^2} \lVert \hat G_s - \hat G_t \rVert_F^2` with :math:`G = Z Z^\top` of the b items, each row
    scaled to length 1. Rotating or scaling either space changes nothing, and their widths may differ.

    Args:
        student, teacher: (b, d_s) and (b, d_t).

    Raises:
        ValueError: if they are not two matrices with as many rows, at least two.

    References:
        Tung & Mori (2019), arXiv:1907.09682.

    Examples:
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
        >>> turned = 3 * z @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
        >>> round(similarity_loss(turned, z).item(), 6), round(similarity_loss(z[[1, 0, 2]], z).item(), 2)
        (0.0, 0.05)
    """
    _check(student, teacher)
    ours, theirs = (F.normalize(z @ z.T, dim=1) for z in (student, teacher))  # (b, b) each
    return (ours - theirs).square().mean()


def rkd_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Relational knowledge distillation: distances within a batch, in units of their mean, compared by Huber's loss.

    :math:`\ell(d^s_{ij} / \bar d^s, d^t_{ij} / \bar d^t)`, averaged over pairs :math:`i < j`.

    Args:
        student, teacher: (b, d_s) and (b, d_t).

    Raises:
        ValueError: if they are not two matrices with as many rows, or all rows of one are the same.

    References:
        Park et al. (2019), arXiv:1904.05068.
    """
    _check(student, teacher)
    ours, theirs = (torch.pdist(z) for z in (student, teacher))  # (b (b - 1) / 2,) each
    if not (ours.max() > 0 and theirs.max() > 0):
        raise ValueError("all items lie at the same place, so their distances have no scale")
    return F.smooth_l1_loss(ours / ours.mean(), theirs / theirs.mean())


class RelationMap(WeightedRidgeMap):
    r"""A ridge map that also learns from items without a partner, by which paired items they resemble.

    An unpaired item belongs where its similarities to the known partners :math:`y_i` equal a teacher's
    similarities :math:`t_i` of the item to the paired items. With :math:`\hat y_i` of length 1 this is a ridge
    problem for each item,

    .. math:: \min_z \sum_i (\hat y_i^\top z - t_i)^2 + \varepsilon n \lVert z \rVert^2 ,

    whose solution, scaled to the length of a usual partner, stands in for the missing one, with ``weight``.

    Args:
        alpha: strength of the map's penalty.
        weight: of an unpaired item beside a pair; 0 leaves the ridge map.
        softness: epsilon. Small values reproduce the similarities closely; large ones leave the mean of the
            partners, weighted by similarity.

    References:
        relations as what is distilled: Park et al. (2019), arXiv:1904.05068; similarities to known items as
        coordinates: Moschella et al. (2023), arXiv:2209.15430.
    """

    def __init__(self, alpha: float = 0.001, *, weight: float = 0.3, softness: float = 0.1) -> None:
        super().__init__(alpha)
        if not (weight >= 0 and softness > 0):
            raise ValueError(f"need weight >= 0 and softness > 0, got {weight} and {softness}")
        self.weight, self.softness = weight, softness

    def fit(  # type: ignore[override]
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        unpaired: np.ndarray,
        teacher: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> RelationMap:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y), and to ``unpaired`` rows (m, d_x).

        Args:
            teacher: what a teacher makes of the paired and of the unpaired items, (n, d_t) and (m, d_t); the
                first view itself says what is alike if there is none.

        Raises:
            ValueError: for shapes that do not fit, or NaN.
        """
        x, y = check_pairs(x, y)
        unpaired = check_view(unpaired, 0, x.shape[1])
        known, new = (x, unpaired) if teacher is None else teacher
        known = check_pairs(known, x)[0]
        new = check_pairs(check_view(new, 0, known.shape[1]), unpaired)[0]
        self.placed_ = self._place(known, new, y)
        weights = np.repeat([1.0, self.weight], [len(x), len(unpaired)])
        super().fit(np.vstack([x, unpaired]), np.vstack([y, self.placed_]), weights=weights)
        return self

    def _place(self, known: np.ndarray, new: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Where the new items belong among the partners y of the known ones, (m, d_y)."""
        centre, mean = np.vstack([known, new]).mean(axis=0), y.mean(axis=0)
        similar = unit(new - centre) @ unit(known - centre).T  # (m, n)
        partners = unit(y - mean).astype(np.float64)  # (n, d_y)
        gram = partners.T @ partners + self.softness * len(y) * np.eye(y.shape[1])
        z = linalg.solve(gram, partners.T @ similar.T, assume_a="pos").T  # (m, d_y)
        return unit(z) * np.linalg.norm(y - mean, axis=1).mean() + mean


def _check(student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or len(student) < 2:
        raise ValueError(
            "student and teacher must be matrices with a row for each of the same items, two at least; got the shapes "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        )
