"""Losses of dual encoders: how far each row is from finding its partner among all rows of a batch.

Each takes ``queries`` and ``gallery``, (n, d) rows of length 1, row i of one belonging to row i of the other, and is
the same if they are exchanged. ``same``, (n, n) bool and symmetric, is true where two rows mean the same: they are not
held against each other.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Duplicates", "Mining", "info_nce", "sigmoid_loss", "triplet_loss"]

Mining = Literal["all", "semi-hard", "hardest"]
Duplicates = Literal["left out", "partners"]


def info_nce(
    queries: Tensor,
    gallery: Tensor,
    temperature: float | Tensor,
    same: Tensor | None = None,
    *,
    duplicates: Duplicates = "left out",
) -> Tensor:
    r"""Symmetric InfoNCE: each row should find its partner among all rows of the batch, both ways.

    :math:`-\tfrac{1}{2n}\sum_i \log\frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}} + \log\frac{e^{s_{ii}/\tau}}{\sum_j
    e^{s_{ji}/\tau}}`.

    Args:
        queries, gallery: (n, d), rows of length 1, row i of one belonging to row i of the other.
        temperature: the scale :math:`\tau`; smaller looks harder at the closest wrong answers.
        same: (n, n) bool, true where two rows mean the same.
        duplicates: leave such pairs out of the sum over j, or count them as ``"partners"``: the mean over all partners
            takes the place of the one.

    References:
        van den Oord et al. (2018), arXiv:1807.03748; symmetric: Radford et al. (2021), arXiv:2103.00020; with several
        partners: Khosla et al. (2020), arXiv:2004.11362.
    """
    if duplicates not in get_args(Duplicates):
        raise ValueError(f"duplicates must be 'left out' or 'partners', got {duplicates!r}")
    logits = queries @ gallery.T / temperature  # (n, n)
    target = torch.arange(len(logits), device=logits.device)
    if same is not None and duplicates == "partners":
        target = (same | _partners(logits)).to(logits)  # symmetric, so it serves both ways
        target = target / target.sum(dim=1, keepdim=True)
    elif same is not None:
        logits = logits.masked_fill(same & ~_partners(logits), -torch.inf)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def sigmoid_loss(
    queries: Tensor,
    gallery: Tensor,
    temperature: float | Tensor,
    bias: float | Tensor,
    same: Tensor | None = None,
) -> Tensor:
    r"""Each pair of the batch judged by itself, together or not: a sum of logistic losses.

    :math:`-\tfrac1n \sum_{ij} \log \sigma\big(z_{ij} (s_{ij} / \tau + b)\big)`, with :math:`z_{ij}` 1 for
    partners and for rows that mean the ``same``, -1 for the others.

    Args:
        queries, gallery: (n, d), rows of length 1, row i of one belonging to row i of the other.
        temperature: the scale :math:`\tau`.
        bias: b, what a pair of cosine 0 scores; about :math:`-\log(n - 1)` where all are equally likely.
        same: (n, n) bool, true where two rows mean the same; they count as partners.

    References:
        Zhai et al. (2023), SigLIP, arXiv:2303.15343.
    """
    logits = queries @ gallery.T / temperature + bias  # (n, n)
    together = _partners(logits) if same is None else same | _partners(logits)
    return -F.logsigmoid(torch.where(together, logits, -logits)).sum() / len(logits)


def triplet_loss(
    queries: Tensor,
    gallery: Tensor,
    same: Tensor | None = None,
    *,
    margin: float = 0.2,
    mining: Mining = "all",
) -> Tensor:
    r"""A partner should be nearer than every other row, by a margin, both ways.

    The mean of :math:`[m + s_{ij} - s_{ii}]_+` over anchors i and negatives j, where j is

    - ``"all"``: every row that is not ``same``;
    - ``"semi-hard"``: of the rows further away than the partner, the nearest (none: the anchor counts 0);
    - ``"hardest"``: the nearest row, be it nearer than the partner or not.

    Args:
        queries, gallery: (n, d), rows of length 1, row i of one belonging to row i of the other.
        same: (n, n) bool, true where two rows mean the same; they are nobody's negatives.
        margin: m, in cosines. Squared distances of rows of length 1 are twice as far apart.
        mining: which negatives.

    References:
        semi-hard: Schroff et al. (2015), FaceNet, arXiv:1503.03832; hardest: Faghri et al. (2018), VSE++,
        arXiv:1707.05612.
    """
    if mining not in get_args(Mining):
        raise ValueError(f"mining must be 'all', 'semi-hard' or 'hardest', got {mining!r}")
    scores = queries @ gallery.T  # (n, n)
    partners = _partners(scores)
    negatives = ~(partners if same is None else same | partners)
    both = [_hinge(scores, negatives, margin, mining), _hinge(scores.T, negatives.T, margin, mining)]
    return sum(both, start=scores.new_zeros(())) / 2


def _hinge(scores: Tensor, negatives: Tensor, margin: float, mining: Mining) -> Tensor:
    """The triplet loss of the rows as anchors."""
    positive = scores.diagonal()[:, None]  # (n, 1)
    if mining == "all":
        return (margin + scores - positive)[negatives].clamp(min=0).sum() / negatives.sum().clamp(min=1)
    allowed = negatives & (scores < positive) if mining == "semi-hard" else negatives
    nearest = scores.masked_fill(~allowed, -torch.inf).amax(dim=1, keepdim=True)  # (n, 1)
    return (margin + nearest - positive).clamp(min=0).mean()  # an anchor without negatives has -inf, so 0


def _partners(scores: Tensor) -> Tensor:
    return torch.eye(len(scores), dtype=torch.bool, device=scores.device)
