"""Trivial systems, for every table: a method that does not beat them has learnt nothing of the single item."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from .features import Labelled, Scorer

__all__ = ["category", "chance", "popular"]


def chance(given: Labelled) -> Scorer:
    """All scores equal; under expected values of ties that is chance exactly."""
    return lambda at: np.zeros((len(at), len(at)))


def popular(given: Labelled) -> Scorer:
    """The same ranking for every query: first the items nearest to the mean of the training items."""
    views, rows = given.views(), given.rows

    def scores(at: np.ndarray) -> np.ndarray:
        typical = [-np.linalg.norm(view[at] - view[rows].mean(axis=0), axis=1) for view in views]  # (n,) each
        return typical[1][None, :] + typical[0][:, None]  # the second term orders the other direction

    return scores


def category(given: Labelled) -> Scorer:
    """The probability that both sides have one category, each predicted by logistic regression."""
    views, rows, labels = list(given.views()), given.rows, given.features.labels
    if len(np.unique(labels[rows])) < 2:
        return chance(given)
    views = [view.astype(np.float64) for view in views]  # to the end, so that the order of sums does not show
    models = [LogisticRegression(C=100, tol=1e-6, max_iter=1000).fit(view[rows], labels[rows]) for view in views]

    def scores(at: np.ndarray) -> np.ndarray:
        one, other = (model.predict_proba(view[at]) for model, view in zip(models, views, strict=True))
        return one @ other.T

    return scores
