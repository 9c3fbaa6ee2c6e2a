"""Attention: a weighted mean of an item's vectors, its weights learned and dependent on the item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from xmr_lab._validation import require_fitted

from .vectors import stacked

__all__ = ["AttentionFusion", "AttentionPooling", "attention_mean", "masked_softmax"]


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last axis among the entries where ``mask`` is true; exactly 0 elsewhere.

    Raises:
        ValueError: if a row has no true entry.

    Examples:
        >>> masked_softmax(torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([[True, True, False]]))
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    if not mask.any(-1).all():
        raise ValueError("a row of the mask is false everywhere; there is nothing to attend to")
    return logits.masked_fill(~mask, -torch.inf).softmax(-1)


def attention_mean(x: Tensor, mask: Tensor, keys: Tensor, bias: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    r"""Weights :math:`a = \operatorname{softmax}_m(u \cdot \tanh(W_m x_m) + b_m)` and the mean :math:`\sum_m a_m x_m`.

    Args:
        x: (n, m, d).
        mask: (n, m) boolean.
        keys: W, (m, d, h), or (1, d, h) if all positions share it.
        bias: b, (m,) or (1,).
        query: u, (h,); zeros give the plain mean.

    Returns:
        (n, m) weights, (n, d) means.
    """
    x = x.masked_fill(~mask[..., None], 0.0)
    hidden = x @ keys[0] if len(keys) == 1 else torch.einsum("nmd,mdh->nmh", x, keys)
    weights = masked_softmax(hidden.tanh() @ query + bias, mask)
    return weights, torch.einsum("nm,nmd->nd", weights, x)


class _Attention:
    """What both have in common: the parameters, the loss, the loop."""

    def __init__(
        self,
        *,
        hidden: int = 4,
        epochs: int = 50,
        learning_rate: float = 0.02,
        weight_decay: float = 5.0,
        temperature: float = 0.1,
        seed: int = 0,
    ) -> None:
        if hidden < 1 or epochs < 1 or not (learning_rate > 0 and weight_decay >= 0 and temperature > 0):
            raise ValueError(
                "need hidden and epochs of at least 1, learning_rate and temperature above 0, weight_decay from 0; "
                f"got {hidden}, {epochs}, {learning_rate}, {temperature}, {weight_decay}"
            )
        self.hidden, self.epochs, self.learning_rate = hidden, epochs, learning_rate
        self.weight_decay, self.temperature, self.seed = weight_decay, temperature, seed

    def _train(
        self, x: Tensor, mask: Tensor, targets: ArrayLike, concepts: ArrayLike | None, slots: int, dropout: float
    ) -> None:
        """Draw each item to its own target and away from the others', in batches of the whole training set."""
        wanted = torch.as_tensor(np.asarray(targets, np.float64), dtype=torch.float32)
        if wanted.shape != (len(x), x.shape[2]) or len(x) < 2 or not wanted.isfinite().all():
            raise ValueError(
                f"need finite targets of shape {(len(x), x.shape[2])}, in the space of the vectors, "
                f"and two items at least; got {tuple(wanted.shape)}"
            )
        names = np.arange(len(x)) if concepts is None else np.unique(np.asarray(concepts), return_inverse=True)[1]
        if len(names) != len(x):
            raise ValueError(f"concepts must have one entry for each of {len(x)} items, got {len(names)}")
        same = torch.as_tensor(names[:, None] == names[None, :])
        right = same / same.sum(1, keepdim=True)  # items of one concept are equally right
        wanted = F.normalize(wanted, dim=1)
        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            # Rows have length 1, so that W x starts with deviation 1; u starts at zero, so the mean is plain.
            self.keys_ = nn.Parameter(torch.randn(slots, x.shape[2], self.hidden))
            self.bias_, self.query_ = nn.Parameter(torch.zeros(slots)), nn.Parameter(torch.zeros(self.hidden))
            parameters = [self.keys_, self.bias_, self.query_]
            optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
            self.history_: list[float] = []
            for _ in range(self.epochs):
                seen = _dropped(mask, dropout) if dropout else mask
                fused = F.normalize(attention_mean(x, seen, *parameters)[1], dim=1)
                logits = fused @ wanted.T / self.temperature  # (n, n)
                loss = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                self.history_.append(loss.item())

    @torch.no_grad()
    def _apply(self, x: Tensor, mask: Tensor) -> tuple[np.ndarray, np.ndarray]:
        require_fitted(self, "keys_")
        if x.shape[2] != self.keys_.shape[1] or len(self.keys_) not in (1, x.shape[1]):
            raise ValueError(
                f"fitted with vectors of {self.keys_.shape[1]} columns"
                + (f" for {len(self.keys_)} modalities" if len(self.keys_) > 1 else "")
                + f"; got {x.shape[1]} vectors of {x.shape[2]} columns an item"
            )
        weights, fused = attention_mean(x, mask, self.keys_, self.bias_, self.query_)
        return weights.numpy(), F.normalize(fused, dim=1).numpy()


class AttentionFusion(_Attention):
    r"""Fuse an item's modalities, aligned in one space, with weights that depend on the item.

    :math:`\sum_m a_m x_m` with :math:`a = \operatorname{softmax}(u \cdot \tanh(W_m x_m) + b_m)` over the modalities
    that the item has; the others get the weight 0, exactly. Learned by contrasting the fused vectors with their
    targets. Give `fit` vectors of items that the maps into the common space have *not* been fitted on
    (cross-fitting): else it learns whom to trust from who has learned by heart.

    Args:
        hidden: width of W. With a few hundred items more than the default learns them by heart.
        modality_dropout: probability with which each modality of a training item is taken away, one always staying.
        epochs, learning_rate, temperature: of the training.
        weight_decay: pulls towards the plain mean.
        seed: of the initialisation and of what is dropped.

    References:
        the weights: Bahdanau, Cho & Bengio (2015), arXiv:1409.0473; modality dropout: Neverova et al. (2016),
        arXiv:1501.00102; the contrast: van den Oord et al. (2018), arXiv:1807.03748.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> targets = rng.normal(size=(60, 8))
        >>> good, noise = targets + 0.1 * rng.normal(size=(60, 8)), rng.normal(size=(60, 8))
        >>> fusion = AttentionFusion().fit([good, noise], targets)
        >>> bool(fusion.weights([good, noise])[:, 0].mean() > 0.6)
        True
    """

    def __init__(
        self,
        *,
        hidden: int = 4,
        modality_dropout: float = 0.0,
        epochs: int = 50,
        learning_rate: float = 0.02,
        weight_decay: float = 5.0,
        temperature: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            hidden=hidden, epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay,
            temperature=temperature, seed=seed,
        )  # fmt: skip
        if not 0 <= modality_dropout < 1:
            raise ValueError(f"modality_dropout must lie in [0, 1), got {modality_dropout}")
        self.modality_dropout = modality_dropout

    def fit(
        self,
        vectors: Sequence[ArrayLike],
        targets: ArrayLike,
        *,
        mask: ArrayLike | None = None,
        concepts: ArrayLike | None = None,
    ) -> AttentionFusion:
        """Fit to items with targets.

        Args:
            vectors: (n, d) for each of m modalities, or an array (n, m, d).
            targets: (n, d) what should find each item, in the same space.
            mask: (n, m) true where an item has the modality; what stands elsewhere, NaN even, plays no part.
            concepts: (n,) items with the same concept are not contrasted.

        Raises:
            ValueError: if shapes do not fit, a present vector is not finite, or an item has no modality.
        """
        x, present = _tensors(vectors, mask)
        self._train(x, present, targets, concepts, x.shape[1], self.modality_dropout)
        return self

    def weights(self, vectors: Sequence[ArrayLike], mask: ArrayLike | None = None) -> np.ndarray:
        """(n, m) how much of each modality goes into each item; rows sum to 1."""
        return self._apply(*_tensors(vectors, mask))[0]

    def transform(self, vectors: Sequence[ArrayLike], mask: ArrayLike | None = None) -> np.ndarray:
        """(n, d) float32, the fused vectors, of length 1."""
        return self._apply(*_tensors(vectors, mask))[1]


class AttentionPooling(_Attention):
    r"""One vector from an item's tokens, patches or frames: their mean, with learned weights.

    :math:`\sum_i a_i x_i` with :math:`a = \operatorname{softmax}_i(u \cdot \tanh(W x_i))`; the order of the vectors
    plays no part. As in `AttentionFusion`, vectors and targets lie in one space. A linear map may go before: it
    makes no difference whether one maps the mean or takes the mean of what is mapped.

    Args:
        hidden, epochs, learning_rate, weight_decay, temperature, seed: as in `AttentionFusion`.

    References:
        Ilse, Tomczak & Welling (2018), Attention-based deep multiple instance learning, arXiv:1802.04712.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> bags = [rng.normal(size=(n, 4)) for n in (3, 1, 5)]
        >>> pooling = AttentionPooling(epochs=2).fit(bags, rng.normal(size=(3, 4)))
        >>> [len(weights) for weights in pooling.weights(bags)], pooling.transform(bags).shape
        ([3, 1, 5], (3, 4))
    """

    def fit(
        self, sequences: Sequence[ArrayLike], targets: ArrayLike, *, concepts: ArrayLike | None = None
    ) -> AttentionPooling:
        """Fit to ``sequences``, (n_i, d) each, with ``targets`` (n, d).

        Raises:
            ValueError: if a sequence is empty or not finite, or shapes do not fit.
        """
        x, mask = _padded(sequences)
        self._train(x, mask, targets, concepts, 1, 0.0)
        return self

    def weights(self, sequences: Sequence[ArrayLike]) -> list[np.ndarray]:
        """For each sequence the weights of its vectors, (n_i,), summing to 1."""
        rows = self._apply(*_padded(sequences))[0]
        return [row[: len(sequence)] for row, sequence in zip(rows, map(np.asarray, sequences), strict=True)]

    def transform(self, sequences: Sequence[ArrayLike]) -> np.ndarray:
        """(n, d) float32, the pooled vectors, of length 1."""
        return self._apply(*_padded(sequences))[1]


def _dropped(mask: Tensor, probability: float) -> Tensor:
    """The mask with some of its true entries made false; one in each row stays, drawn at random."""
    luck = torch.rand(mask.shape).masked_fill(~mask, -1.0)
    stays = F.one_hot(luck.argmax(1), mask.shape[1]).bool()
    return mask & ((luck > probability) | stays)


def _tensors(vectors: Sequence[ArrayLike], mask: ArrayLike | None) -> tuple[Tensor, Tensor]:
    x, present = stacked(vectors, mask)
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(present)


def _padded(sequences: Sequence[ArrayLike]) -> tuple[Tensor, Tensor]:
    """(n, longest, d) with zeros after the end of each sequence, and where they have not ended, (n, longest)."""
    arrays = [np.asarray(sequence, np.float32) for sequence in sequences]
    widths = {array.shape[1] for array in arrays if array.ndim == 2 and len(array) and np.isfinite(array).all()}
    if len(widths) != 1 or any(array.ndim != 2 or not len(array) or not np.isfinite(array).all() for array in arrays):
        raise ValueError(
            "need sequences of vectors, finite, not empty and all of one width; "
            f"got shapes {sorted({array.shape for array in arrays})}"
        )
    x = torch.zeros(len(arrays), max(map(len, arrays)), widths.pop())
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    for row, array in enumerate(arrays):
        x[row, : len(array)] = torch.from_numpy(array)
        mask[row, : len(array)] = True
    return x, mask
