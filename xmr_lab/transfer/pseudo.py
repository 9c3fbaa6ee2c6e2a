"""Pseudo-pairs: a matcher guesses which unpaired items belong together, and is fitted again with its guesses.

How the guesses are chosen from a matrix of scores (`pseudo_label`), and the loop around that (`SelfTraining`), where
`xmr_lab.matching.csls` frees the scores of hubs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from xmr_lab._validation import check_pairs, check_scores, check_view, require_fitted
from xmr_lab.matching import Matcher, csls

__all__ = ["PseudoPairs", "SelfTraining", "mutual_nearest_neighbours", "pseudo_label"]

Selection = Literal["nearest", "mutual", "one-to-one"]


@dataclass(frozen=True, eq=False)
class PseudoPairs:
    """Guessed pairs, the most confident first.

    Attributes:
        rows, columns: (n,) positions in the two sets of unpaired items.
        confidence: (n,) the scores of the pairs, descending.
    """

    rows: np.ndarray
    columns: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def mutual_nearest_neighbours(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that choose each other: j is the best column of row i, and i the best row of column j.

    Args:
        scores: (n_rows, n_columns). Of equal scores, the first counts as the best.

    Returns:
        positions of the rows and of the columns, (n,) each, ordered by row.

    Examples:
        >>> mutual_nearest_neighbours(np.array([[0.9, 0.1], [0.8, 0.2]]))
        (array([0]), array([0]))
    """
    scores = check_scores(scores)
    best = scores.argmax(axis=1)  # (n_rows,)
    rows = np.flatnonzero(scores.argmax(axis=0)[best] == np.arange(len(scores)))
    return rows, best[rows]


def pseudo_label(scores: np.ndarray, *, select: Selection = "nearest", share: float = 1.0) -> PseudoPairs:
    """Choose pairs from the scores of unpaired items with unpaired items.

    Args:
        scores: (n_rows, n_columns), larger is better.
        select: ``"nearest"`` takes the best column of each row; ``"mutual"`` the pairs that choose each other;
            ``"one-to-one"`` the assignment, each item used once at most, with the largest sum of scores.
        share: keep so many of these, the most confident (at least one). A share, not a threshold, because the
            scores of a matcher of 10 pairs and of one of 100 have different scales.

    References:
        Lee (2013), Pseudo-label, ICML workshop on challenges in representation learning; the assignment: Kuhn (1955),
        doi:10.1002/nav.3800020109.

    Examples:
        >>> pairs = pseudo_label(np.array([[0.9, 0.1], [0.8, 0.2]]), select="one-to-one")
        >>> pairs.rows, pairs.columns, pairs.confidence
        (array([0, 1]), array([0, 1]), array([0.9, 0.2]))
    """
    scores = check_scores(scores)
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    if select == "nearest":
        rows, columns = np.arange(len(scores)), scores.argmax(axis=1)
    elif select == "mutual":
        rows, columns = mutual_nearest_neighbours(scores)
    elif select == "one-to-one":
        rows, columns = linear_sum_assignment(scores, maximize=True)
    else:
        raise ValueError(f"select must be 'nearest', 'mutual' or 'one-to-one', got {select!r}")
    order = np.argsort(-scores[rows, columns], kind="stable")[: max(1, round(share * len(rows)))]
    return PseudoPairs(rows[order], columns[order], scores[rows, columns][order])


class SelfTraining:
    """Fit, guess pairs among the unpaired items, fit again with the guesses, and so on.

    Guesses of one round are dropped before the next, so a matcher may change its mind. A side without unpaired
    items offers its paired ones. Without unpaired items on either side, this is the matcher itself.

    Args:
        matcher: what is fitted; a copy of it, so that it stays as it is.
        select, share: see `pseudo_label`.
        rounds: how often to guess.
        neighbours: of `xmr_lab.matching.csls`; 0 uses the cosines as they are.

    References:
        Scudder (1965), doi:10.1109/TIT.1965.1053799; iterated: Conneau et al. (2018), arXiv:1710.04087, with mutual
        nearest neighbours, Artetxe et al. (2018), arXiv:1805.06297, with the nearest of both sides.

    Examples:
        >>> from xmr_lab.matching import RidgeMap
        >>> x = np.random.default_rng(0).normal(size=(60, 4))
        >>> y = x @ np.random.default_rng(1).normal(size=(4, 4))
        >>> student = SelfTraining(RidgeMap(1e-3)).fit(x[:10], y[:10], unpaired_x=x[10:], unpaired_y=y[10:])
        >>> float((student.rounds_[-1].rows == student.rounds_[-1].columns).mean())  # shares that are right
        1.0
    """

    def __init__(
        self,
        matcher: Matcher,
        *,
        select: Selection = "one-to-one",
        share: float = 1.0,
        rounds: int = 1,
        neighbours: int = 10,
    ) -> None:
        if rounds < 1 or neighbours < 0:
            raise ValueError(f"need rounds >= 1 and neighbours >= 0, got {rounds} and {neighbours}")
        self.matcher, self.select, self.share = matcher, select, share
        self.rounds, self.neighbours = rounds, neighbours

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        unpaired_x: np.ndarray | None = None,
        unpaired_y: np.ndarray | None = None,
        scores: np.ndarray | None = None,
    ) -> SelfTraining:
        """Fit to paired rows ``x`` (n, d_x) and ``y`` (n, d_y), and to unpaired rows of either.

        Args:
            unpaired_x, unpaired_y: (m_x, d_x) and (m_y, d_y), in any order.
            scores: (m_x, m_y) of another teacher, from which the first round guesses. It may have been trained
                elsewhere; then ``x`` and ``y`` may have no rows.

        Raises:
            ValueError: for shapes that do not fit, NaN, or fewer than two pairs without ``scores``.
        """
        if scores is None or len(x):
            x, y = check_pairs(x, y)
        u, v = (
            check_view(side if other is None else other, view, np.shape(x)[1], np.shape(y)[1])
            for view, (side, other) in enumerate([(x, unpaired_x), (y, unpaired_y)])
        )
        if scores is not None and np.shape(scores) != (len(u), len(v)):
            raise ValueError(f"scores must be of shape {len(u), len(v)}, unpaired x by y; got {np.shape(scores)}")
        self.rounds_: list[PseudoPairs] = []
        self.matcher_ = copy.deepcopy(self.matcher)
        if scores is None:
            self.matcher_.fit(x, y)
        if (unpaired_x is None and unpaired_y is None) or not (len(u) and len(v)):
            return self
        for _ in range(self.rounds):
            if scores is None:
                scores = self.matcher_.transform(u) @ self.matcher_.transform(v, view=1).T  # (m_x, m_y)
            cleaned = csls(scores, k=self.neighbours) if self.neighbours else scores
            found = pseudo_label(cleaned, select=self.select, share=self.share)
            self.rounds_.append(found)
            self.matcher_.fit(np.concatenate([x, u[found.rows]]), np.concatenate([y, v[found.columns]]))
            scores = None
        return self

    def transform(self, x: np.ndarray, view: int = 0) -> np.ndarray:
        """Rows of either view in the matcher's shared space."""
        require_fitted(self, "matcher_")
        return self.matcher_.transform(x, view)
