"""The cross-modal graph: items of both views as nodes, neighbours and partners as edges, and what flows along them."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from xmr_lab._validation import check_pairs, check_view, check_views, require_fitted, unit

__all__ = ["CrossModalGraph", "knn_graph", "label_propagation", "personalized_pagerank"]


def knn_graph(x: np.ndarray, *, k: int = 10) -> np.ndarray:
    """Each item joined with its ``k`` nearest, by the cosine of what differs from the mean.

    Args:
        x: (n, d).
        k: neighbours; at most all others. The graph is made symmetric, so an item may have more.

    Returns:
        (n, n) symmetric weights in [0, 1], the diagonal 0; negative cosines count as 0.

    Raises:
        ValueError: for fewer than two rows, NaN, or ``k`` below 1.
    """
    x, _ = check_pairs(x, x)
    directions = unit(x - x.mean(axis=0))
    similar = directions @ directions.T
    np.fill_diagonal(similar, -np.inf)  # nobody is a neighbour of themselves
    nearest = keep_nearest(similar, min(k, len(x) - 1))
    return np.maximum(nearest, nearest.T)


def keep_nearest(similar: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` largest entries of each row, negative ones as 0, everything else 0."""
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    best = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    kept = np.zeros(similar.shape)
    np.put_along_axis(kept, best, np.clip(np.take_along_axis(similar, best, axis=1), 0, 1), axis=1)
    return kept


def label_propagation(weights: np.ndarray, labels: np.ndarray, *, alpha: float = 0.9) -> np.ndarray:
    r"""Spread labels over a graph: each item takes ``alpha`` from its neighbours and the rest from its own label.

    With :math:`S = D^{-1/2} W D^{-1/2}`, the fixed point of :math:`F \leftarrow \alpha S F + (1-\alpha) Y`, in closed
    form :math:`F = (1-\alpha)(I - \alpha S)^{-1} Y`. With queries as labels, it is *manifold ranking*.

    Args:
        weights: (n, n) symmetric, not negative; an item without neighbours keeps what it has.
        labels: (n, n_labels), a row of zeros where nothing is known.
        alpha: how far labels travel, in [0, 1).

    Returns:
        (n, n_labels), not normalised.

    Raises:
        ValueError: for shapes that do not fit, or weights that are negative or not symmetric.

    References:
        Zhou et al. (2004), Learning with local and global consistency, NIPS 16; after Zhu & Ghahramani (2002), Learning
        from labeled and unlabeled data with label propagation, CMU-CALD-02-107.

    Examples:
        >>> path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> label_propagation(path, np.array([[1, 0], [0, 0], [0, 1]]), alpha=0.5).argmax(axis=1)
        array([0, 0, 1])
    """
    weights, labels = np.asarray(weights, np.float64), np.asarray(labels, np.float64)
    if weights.ndim != 2 or weights.shape[0] != weights.shape[1] or labels.shape[:1] != weights.shape[:1]:
        raise ValueError(f"need weights (n, n) and labels (n, n_labels), got {weights.shape} and {labels.shape}")
    if not (weights >= 0).all() or not np.allclose(weights, weights.T):
        raise ValueError("weights must be symmetric and not negative; `knn_graph` makes such a graph")
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha must lie in [0, 1), got {alpha}")
    degree = weights.sum(axis=1)
    scale = 1 / np.sqrt(np.where(degree > 0, degree, 1))
    system = np.eye(len(weights)) - alpha * scale[:, None] * weights * scale
    return (1 - alpha) * linalg.solve(system, labels, assume_a="pos")


def personalized_pagerank(
    weights: np.ndarray | sparse.sparray, starts: np.ndarray, *, restart: float = 0.15, tolerance: float = 1e-9
) -> np.ndarray:
    r"""Where a walker is found who goes along edges at random and, now and then, starts again.

    The fixed point of :math:`p \leftarrow c\,s + (1-c)\,P^\top p` with :math:`P = D^{-1}W`, by iteration: each step
    costs one look at every edge, and the error shrinks by :math:`1-c`. Where no edge leaves, the walker starts again.

    Args:
        weights: (n, n) not negative, dense or sparse; entry (i, j) is the edge from i to j.
        starts: (n_starts, n) not negative, where each walker starts; rows are scaled to sum 1.
        restart: the chance c of starting again at each step, in (0, 1].
        tolerance: stop when no walker's distribution changes by more than this in total.

    Returns:
        (n_starts, n) distributions.

    Raises:
        ValueError: for shapes that do not fit, negative numbers, or a start that is nowhere.

    References:
        Page et al. (1999), The PageRank citation ranking, Stanford InfoLab 1999-66; Haveliwala (2002),
        doi:10.1145/511446.511513.

    Examples:
        >>> path = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
        >>> personalized_pagerank(path, np.array([[1, 0, 0]]), restart=0.5).round(2)
        array([[0.58, 0.33, 0.08]])
    """
    weights, starts = sparse.csr_array(weights, dtype=np.float64), np.asarray(starts, np.float64)
    n = weights.shape[0]
    if weights.shape != (n, n) or starts.ndim != 2 or starts.shape[1] != n:
        raise ValueError(f"need weights (n, n) and starts (n_starts, n), got {weights.shape} and {starts.shape}")
    if not (weights.data >= 0).all() or not (starts >= 0).all() or not (starts.sum(axis=1) > 0).all():
        raise ValueError("weights and starts must not be negative, and each start must be somewhere")
    if not 0 < restart <= 1:
        raise ValueError(f"restart must lie in (0, 1], got {restart}")
    starts = starts / starts.sum(axis=1, keepdims=True)
    degree = weights.sum(axis=1)
    stuck = degree == 0
    step = (sparse.diags_array(1 / np.where(stuck, 1, degree)) @ weights).T.tocsr()
    at = starts.T  # (n, n_starts)
    while True:
        lost = at[stuck].sum(axis=0)
        after = restart * starts.T + (1 - restart) * (step @ at + starts.T * lost)
        if np.abs(after - at).sum(axis=0).max() <= tolerance:
            return after.T
        at = after


class CrossModalGraph:
    r"""Rank by how much of a walk that starts at the query ends at each item of the gallery.

    Nodes are the training items, once in each view, the gallery, and, if given, *anchors*: rows of the second view
    that name what the first may show, such as class names. Edges join neighbours within a view (`knn_graph`), the two
    nodes of a pair (the bridges), and items of the first view with anchors (``links``). A query is no node: it enters
    at its neighbours, and leaves the graph as it was; so one query does not see another.

    The score is :math:`p_j / d_j^{\beta}`: mass that arrives (`personalized_pagerank`), divided by a power of the
    node's degree. :math:`\beta = 0` is PageRank, which favours what has many neighbours; :math:`\beta = 1/2` is
    manifold ranking, up to how starts are weighted; :math:`\beta = 1` is symmetric: i is for j what j is for i.

    Args:
        k: neighbours in the graphs, and of queries.
        restart: see `personalized_pagerank`.
        bridge: weight of a bridge, in units of the mean degree within the views.
        degree: the exponent beta.

    References:
        Pan et al. (2004), doi:10.1145/1014052.1014135 (a cross-modal graph, walked with restarts); Zhou et al.
        (2004), Ranking on data manifolds, NIPS 16.

    Examples:
        >>> angles = np.linspace(0, 6, 40)
        >>> x = np.column_stack([np.cos(angles), np.sin(angles)])
        >>> graph = CrossModalGraph(k=3).fit(x[::2], -x[::2])  # every second item is a pair
        >>> int(graph.scores(x[[21]], -x).argmax())
        21
    """

    def __init__(self, *, k: int = 10, restart: float = 0.3, bridge: float = 1.0, degree: float = 1.0) -> None:
        if k < 1 or not 0 < restart <= 1 or bridge < 0 or degree < 0:
            raise ValueError(
                f"need k >= 1, restart in (0, 1], bridge >= 0 and degree >= 0, got {k}, {restart}, {bridge}, {degree}"
            )
        self.k, self.restart, self.bridge, self.degree = k, restart, bridge, degree

    def fit(
        self, x: np.ndarray, y: np.ndarray, *, anchors: np.ndarray | None = None, links: np.ndarray | None = None
    ) -> CrossModalGraph:
        """Keep the items; a row of NaN is a view that an item lacks, and such an item is no bridge.

        Args:
            x, y: (n, d_x) and (n, d_y), row i of both describing item i.
            anchors: (m, d_y) further rows of the second view.
            links: (n, m) not negative, how much each row of x has to do with each anchor; rows are scaled to sum 1.

        Raises:
            ValueError: for shapes that do not fit, or only one of anchors and links.
        """
        x, y = check_views(x, y, missing=True)
        if (anchors is None) != (links is None):
            raise ValueError("anchors and links belong together: give both or neither")
        self.anchors_ = np.empty((0, y.shape[1])) if anchors is None else check_view(anchors, 1, x.shape[1], y.shape[1])
        there = [~np.isnan(view).any(axis=1) for view in (x, y)]
        self.rows_ = [view[some] for view, some in zip((x, y), there, strict=True)]
        both = there[0] & there[1]
        self.pairs_ = [some.cumsum()[both] - 1 for some in there]  # positions among the rows that are there
        self.links_ = self._links(links, len(x))[there[0]]
        return self

    def _links(self, links: np.ndarray | None, n: int) -> np.ndarray:
        """Links of n rows to the anchors, their sum 1 (or 0, where a row has none)."""
        m = len(self.anchors_)
        if links is None and m:
            raise ValueError(f"this graph has {m} anchors: give links, of shape {n, m}")
        links = np.zeros((n, m)) if links is None else np.asarray(links, np.float64)
        if links.shape != (n, m) or not (links >= 0).all():
            raise ValueError(f"links must be of shape {n, m} and not negative; got {links.shape}")
        total = links.sum(axis=1, keepdims=True)
        return links / np.where(total > 0, total, 1)

    def weights(self, gallery: np.ndarray, *, view: int = 1, links: np.ndarray | None = None) -> np.ndarray:
        """The graph with a gallery in it: (n_nodes, n_nodes), symmetric.

        Its nodes: the rows of x, then of y, then the anchors, then the gallery.
        """
        require_fitted(self, "rows_")
        n, m, new = [len(rows) for rows in self.rows_], len(self.anchors_), len(gallery)
        sides = [self.rows_[0], np.concatenate([self.rows_[1], self.anchors_])]
        sides[view] = np.concatenate([sides[view], check_view(gallery, view, *(rows.shape[1] for rows in self.rows_))])
        at = [np.arange(n[0]), n[0] + np.arange(n[1] + m)]  # where the nodes of each side stand
        at[view] = np.concatenate([at[view], sum(n) + m + np.arange(new)])
        graph = np.zeros((sum(n) + m + new,) * 2)
        for rows, nodes in zip(sides, at, strict=True):
            graph[np.ix_(nodes, nodes)] = knn_graph(rows, k=self.k)
        unit_weight = graph.sum() / len(graph)
        ends = self.pairs_[0], n[0] + self.pairs_[1]
        graph[ends] = graph[ends[::-1]] = self.bridge * unit_weight
        linked = self.links_ if view else np.concatenate([self.links_, self._links(links, new)])
        named = sum(n) + np.arange(m)
        graph[np.ix_(at[0], named)] = unit_weight * linked
        graph[np.ix_(named, at[0])] = unit_weight * linked.T
        return graph

    def scores(
        self, queries: np.ndarray, gallery: np.ndarray, *, view: int = 0, links: np.ndarray | None = None
    ) -> np.ndarray:
        """Scores of queries of one view (0 or 1) with a gallery of the other.

        Args:
            queries: (n_queries, d) of this view.
            gallery: (n_gallery, d) of the other.
            links: of those rows, queries or gallery, that are of the first view; needed if `fit` had any.

        Returns:
            (n_queries, n_gallery) not negative; of one query, a fixed multiple of 1.
        """
        require_fitted(self, "rows_")
        queries = check_view(queries, view, *(rows.shape[1] for rows in self.rows_))
        graph = self.weights(gallery, view=1 - view, links=links)
        n, known = len(self.rows_[0]), self.rows_[0] if view == 0 else np.concatenate([self.rows_[1], self.anchors_])
        mean = known.mean(axis=0)
        near = keep_nearest(unit(queries - mean) @ unit(known - mean).T, min(self.k, len(known)))
        near = near / np.maximum(near.sum(axis=1, keepdims=True), 1e-12)
        starts = np.zeros((len(queries), len(graph)))
        first = 0 if view == 0 else n
        starts[:, first : first + len(known)] = near
        if view == 0:
            starts[:, n + len(self.rows_[1]) :][:, : len(self.anchors_)] = self._links(links, len(queries))
        return self._arrive(graph, starts)[:, len(graph) - len(gallery) :]

    def _arrive(self, graph: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """`personalized_pagerank` over ``degree ** self.degree``; the graph is symmetric, so one Cholesky solves it."""
        degree = graph.sum(axis=1)
        degree = np.where(degree > 0, degree, 1)
        total = np.maximum(starts.sum(axis=1), 1e-12)
        system = np.diag(degree) - (1 - self.restart) * graph
        share = linalg.solve(system, self.restart * starts.T / total, assume_a="pos", overwrite_a=True)  # p / d
        return (share * degree[:, None] ** (1 - self.degree)).T
