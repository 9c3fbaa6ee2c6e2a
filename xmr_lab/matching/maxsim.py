"""Sequences matched frame by frame: late interaction, and kernel ridge regression on top of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg

from xmr_lab._validation import check_view, require_fitted, unit

__all__ = ["MaxSimRidge", "maxsim"]


def maxsim(queries: Sequence[np.ndarray], gallery: Sequence[np.ndarray]) -> np.ndarray:
    r"""How well each sequence's frames find a like frame in the other, averaged over both directions.

    :math:`\tfrac12\big(\operatorname{mean}_i \max_j \cos(q_i, g_j) + \operatorname{mean}_j \max_i \cos(q_i, g_j)\big)`:
    where in time a sound occurs does not matter, that it occurs does.

    Args:
        queries: sequences of frames, (n_frames, d) each.
        gallery: likewise.

    Returns:
        (n_queries, n_gallery) in [-1, 1].

    Raises:
        ValueError: if a sequence is empty, or holds NaN or infinity.

    References:
        the maximum over frames: Khattab & Zaharia (2020), ColBERT, arXiv:2004.12832.

    Examples:
        >>> ab, ba = np.eye(2), np.eye(2)[::-1]
        >>> maxsim([ab], [ba, ab[:1]])
        array([[1.  , 0.75]])
    """
    queries, gallery = ([_check(frames, i) for i, frames in enumerate(side)] for side in (queries, gallery))
    starts = np.concatenate([[0], np.cumsum([len(frames) for frames in gallery])[:-1]])
    lengths = np.diff([*starts, sum(len(frames) for frames in gallery)])
    stacked = unit(np.concatenate(gallery))  # (all gallery frames, d)
    scores = np.empty((len(queries), len(gallery)))
    for row, frames in enumerate(queries):
        similar = unit(frames) @ stacked.T  # (n_frames, all gallery frames)
        there = np.maximum.reduceat(similar, starts, axis=1).mean(axis=0)  # (n_gallery,)
        back = np.add.reduceat(similar.max(axis=0), starts) / lengths
        scores[row] = (there + back) / 2
    return scores


class MaxSimRidge:
    r"""Map sequences of frames into the space of the second view, by what training sequences they resemble.

    Kernel ridge regression with the kernel :math:`k(a, b) = e^{\gamma(\operatorname{maxsim}(a, b) - 1)}`, frames
    centred on their training mean. A spoken phrase is placed near the captions of phrases that share words
    with it, wherever in the phrase they are spoken; a pooled vector blurs them.

    Args:
        alpha: strength of the penalty.
        sharpness: gamma; the larger, the fewer training sequences have a say.

    References:
        Saunders et al. (1998), Ridge regression learning algorithm in dual variables, ICML.
    """

    def __init__(self, alpha: float = 0.1, *, sharpness: float = 4.0) -> None:
        if not (alpha > 0 and sharpness > 0):
            raise ValueError(f"alpha and sharpness must be positive, got {alpha} and {sharpness}")
        self.alpha, self.sharpness = alpha, sharpness

    def fit(self, x: Sequence[np.ndarray], y: np.ndarray) -> MaxSimRidge:
        """Fit to paired sequences ``x`` (n of (n_frames, d_x)) and rows ``y`` (n, d_y).

        Raises:
            ValueError: if they do not pair, or hold NaN or an empty sequence.
        """
        y = np.asarray(y, dtype=np.float64)
        if y.ndim != 2 or len(x) != len(y) or len(x) < 2:
            raise ValueError(f"x and y must be paired, two at least; got {len(x)} sequences and shape {y.shape}")
        self.frame_mean_ = np.concatenate([_check(frames, i) for i, frames in enumerate(x)]).mean(axis=0)
        self.mean_ = y.mean(axis=0)
        self.sequences_ = [frames - self.frame_mean_ for frames in x]
        kernel = self._kernel(self.sequences_)
        # The kernel need not be positive definite, so a general solver.
        self.weights_ = linalg.solve(kernel + self.alpha * np.eye(len(x)), y - self.mean_)
        return self

    def _kernel(self, centred: Sequence[np.ndarray]) -> np.ndarray:
        return np.exp(self.sharpness * (maxsim(centred, self.sequences_) - 1))

    def transform(self, x: Sequence[np.ndarray] | np.ndarray, view: int = 0) -> np.ndarray:
        """Sequences (view 0) or rows of the second view (1) in the second view's space, rows of length 1."""
        require_fitted(self, "weights_")
        if view != 0:
            return unit(check_view(np.asarray(x), view, 0, len(self.mean_)) - self.mean_)
        sequences = [_check(frames, i) for i, frames in enumerate(x)]
        if wrong := {frames.shape[1] for frames in sequences} - {len(self.frame_mean_)}:
            raise ValueError(f"view 0 was fitted with frames of {len(self.frame_mean_)} columns; got {wrong.pop()}")
        return unit(self._kernel([frames - self.frame_mean_ for frames in sequences]) @ self.weights_)


def _check(frames: np.ndarray, position: int) -> np.ndarray:
    frames = np.asarray(frames, dtype=np.float64)
    if frames.ndim != 2 or not len(frames) or not np.isfinite(frames).all():
        raise ValueError(f"sequence {position} must be finite, of shape (n_frames, d); got {frames.shape}")
    return frames
