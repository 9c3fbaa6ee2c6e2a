"""The second stage: look again, and closely, at what a first stage has found."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xmr_lab._validation import require_fitted
from xmr_lab.encoders.base import array_digest, fingerprint_of
from xmr_lab.encoders.cache import cache_folder, load_arrays, save_arrays

from .losses import info_nce

__all__ = ["CrossAttention", "rerank"]

TOGETHER = 4096  # pictures compared with a sentence at a time


def rerank(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Scores of both stages in one: each query's best ``k`` by the first stage, in the order of the second.

    Below these the rest follows in the order of the first stage. So no item comes in that the first stage had not
    among its ``k``: its hit rate @k stays as it was, and bounds the hit rate above.

    Args:
        first: (n_queries, n_gallery) scores of the first stage; of equal ones the lower row of the gallery is taken.
        second: (n_queries, n_gallery) scores of the second; those beyond the ``k`` play no part and may be NaN.
        k: how many are looked at again, at least 1.

    Returns:
        (n_queries, n_gallery) float64.

    Raises:
        ValueError: if the shapes differ, ``k`` is below 1, or a score that is needed is not finite.

    References:
        for passages: Nogueira & Cho (2019), arXiv:1901.04085.

    Examples:
        >>> rerank(np.array([[0.9, 0.8, 0.1]]), np.array([[1.0, 2.0, np.nan]]), k=2).argsort().tolist()
        [[2, 0, 1]]
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.ndim != 2 or first.shape != second.shape or k < 1 or not np.isfinite(first).all():
        raise ValueError(f"need two matrices of one shape, the first finite, and k >= 1; got {first.shape}, "
                         f"{second.shape} and {k}")  # fmt: skip
    best = np.argsort(-first, axis=1, kind="stable")[:, :k]  # (n_queries, k)
    chosen = np.take_along_axis(second, best, axis=1)
    if not np.isfinite(chosen).all():
        raise ValueError(f"the second stage has no finite score for some of the {k} candidates of a query")
    scores = first - first.max(axis=1, keepdims=True)  # at most 0
    low = chosen.min(axis=1, keepdims=True)
    np.put_along_axis(scores, best, chosen - low + 1, axis=1)  # at least 1
    return scores


class CrossAttention(nn.Module):
    r"""Cross-attention between the words of a sentence and the patches of a picture: a score for each pair.

    Patches :math:`x_p` and tokens :math:`y_t` are mapped linearly to :math:`u_p` and :math:`w_t`; each token collects
    the patches that are like it, and the score says how like the collected ones are:

    .. math:: a_{tp} = \operatorname{softmax}_p\big(\lambda \cos(w_t, u_p)\big), \qquad
              s = \operatorname{mean}_t \cos\Big(w_t, \sum_p a_{tp} u_p\Big).

    No vector of a picture alone has this score as its product with one of a sentence: every pair has to be looked at,
    which is why it stands behind a first stage. Trained by InfoNCE in batches that hold, beside each item, others that
    the first stage confuses with it.

    Args:
        width: of :math:`u` and :math:`w`.
        sharpness: :math:`\lambda`, trained from this value.
        temperature: of the loss.
        epochs, anchors, learning_rate, weight_decay, dropout: of the AdamW training, one-cycle schedule.
        negatives: others in a batch for each of its ``anchors`` items.
        seed: of the first weights, the batches and the dropout.

    References:
        Lee, Chen, Hua, Hu & He (2018), Stacked cross attention for image-text matching, arXiv:1803.08024;
        hard negatives: Faghri et al. (2018), VSE++, arXiv:1707.05612.
    """

    history_: list[float]  # the loss by epoch
    patch_mean: Tensor
    patch_scale: Tensor
    token_mean: Tensor
    token_scale: Tensor

    def __init__(
        self,
        width: int = 64,
        *,
        sharpness: float = 10.0,
        temperature: float = 0.1,
        epochs: int = 4,
        anchors: int = 8,
        negatives: int = 3,
        learning_rate: float = 2e-3,
        weight_decay: float = 0.1,
        dropout: float = 0.3,
        seed: int = 0,
    ) -> None:
        if min(width, epochs, anchors, negatives) < 1:
            raise ValueError(
                "width, epochs, anchors and negatives must be at least 1; "
                f"got {width}, {epochs}, {anchors} and {negatives}"
            )
        if not (sharpness > 0 and temperature > 0 and learning_rate > 0 and weight_decay >= 0 and 0 <= dropout < 1):
            raise ValueError(
                "need sharpness, temperature and learning_rate above 0, weight_decay from 0, dropout in [0, 1); got "
                f"{sharpness}, {temperature}, {learning_rate}, {weight_decay} and {dropout}"
            )
        super().__init__()
        self.width, self.sharpness, self.temperature, self.epochs = width, sharpness, temperature, epochs
        self.anchors, self.negatives, self.learning_rate = anchors, negatives, learning_rate
        self.weight_decay, self.dropout, self.seed = weight_decay, dropout, seed

    def fit(
        self,
        patches: np.ndarray,
        tokens: Sequence[np.ndarray],
        *,
        concepts: np.ndarray | None = None,
        negatives: np.ndarray | None = None,
        keep: bool = False,
    ) -> CrossAttention:
        """Fit to pictures' ``patches`` (n, n_patches, d_x) and their sentences' ``tokens``, (n_tokens, d_y) each.

        Args:
            concepts: (n,) items of the same concept are not held against each other.
            negatives: (n, m) for each item the rows from which its negatives are drawn, all by default. Hard ones are
                those that the first stage confuses with it. Let it rank items that it was not fitted on
                (cross-fitting), or it confuses nothing.
            keep: keep what is learnt in the cache, and take it from there if it has been learnt before.

        Raises:
            ValueError: if the shapes do not fit, or a value is not finite.
        """
        x, y, mask = _pictures(patches), *_sentences(tokens)
        codes = np.arange(len(x)) if concepts is None else np.unique(concepts, return_inverse=True)[1]
        if len(x) != len(y) or len(codes) != len(x) or len(x) < 2:
            raise ValueError(f"need as many pictures, sentences and concepts, two at least; got {len(x)}, {len(y)} "
                             f"and {len(codes)}")  # fmt: skip
        if negatives is None:
            negatives = (np.arange(len(x))[:, None] + np.arange(1, len(x))) % len(x)  # all but itself
        pools = np.asarray(negatives)
        if pools.ndim != 2 or len(pools) != len(x) or pools.dtype.kind not in "iu" or not pools.size:
            raise ValueError(
                f"negatives must be rows, integers of shape ({len(x)}, m); got {pools.dtype} {pools.shape}"
            )
        if pools.min() < 0 or pools.max() >= len(x):
            raise ValueError(f"negatives must be rows from 0 to {len(x) - 1}; got {pools.min()} to {pools.max()}")
        if keep:
            arrays = {"x": x.numpy(), "y": y.numpy(), "codes": codes, "pools": pools}
            settings = [self.width, self.sharpness, self.temperature, self.epochs, self.anchors, self.negatives,
                        self.learning_rate, self.weight_decay, self.dropout, self.seed]  # fmt: skip
            key = fingerprint_of("CrossAttention", 1, settings, array_digest(arrays))
            path = cache_folder() / f"{key}.safetensors"
            if (state := load_arrays(path)) is not None:
                return self._restore(state)
        self._train(x, y, mask, torch.as_tensor(codes), pools)
        if keep:
            path.parent.mkdir(parents=True, exist_ok=True)
            state = {name: value.numpy() for name, value in self.state_dict().items()}
            about = {"encoder": type(self).__name__, "method": "fit", "items": str(len(x))}
            save_arrays(path, {**state, "history_": np.array(self.history_)}, about)
        return self

    def _build(self, d_x: int, d_y: int) -> None:
        self.see, self.read = nn.Linear(d_x, self.width), nn.Linear(d_y, self.width)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(self.sharpness)))
        for name, width in (("patch", d_x), ("token", d_y)):  # what makes features of any scale alike
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_scale", torch.ones(()))

    def _restore(self, state: dict[str, np.ndarray]) -> CrossAttention:
        history = state.pop("history_").tolist()
        with torch.random.fork_rng(devices=[]):
            self._build(state["see.weight"].shape[1], state["read.weight"].shape[1])
        self.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
        self.history_ = history
        return self.eval().requires_grad_(False)

    def _train(self, x: Tensor, y: Tensor, mask: Tensor, codes: Tensor, pools: np.ndarray) -> None:
        with torch.random.fork_rng(devices=[]):  # seeded here, without touching anybody else's random numbers
            torch.manual_seed(self.seed)
            rng = np.random.default_rng(self.seed)
            self._build(x.shape[2], y.shape[2])
            for name, rows in (("patch", x.flatten(0, 1)), ("token", y[mask])):
                getattr(self, f"{name}_mean").copy_(rows.mean(0))
                getattr(self, f"{name}_scale").copy_(rows.sub(rows.mean(0)).square().mean().sqrt().clamp(min=1e-12))
            steps, n_drawn = self.epochs * math.ceil(len(x) / self.anchors), min(self.negatives, pools.shape[1])
            optimizer = torch.optim.AdamW(self.parameters(), self.learning_rate, weight_decay=self.weight_decay)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps)
            self.history_ = []
            self.train()
            for _ in range(self.epochs):
                losses, order = [], rng.permutation(len(x))
                for anchors in np.split(order, range(self.anchors, len(x), self.anchors)):
                    others = [rng.choice(pools[row], n_drawn, replace=False) for row in anchors]
                    rows = torch.as_tensor(np.unique(np.concatenate([anchors, *others])))
                    width = int(mask[rows].sum(1).max())
                    logits = self(x[rows], y[rows, :width], mask[rows, :width])  # (n_rows, n_rows)
                    same = codes[rows, None] == codes[None, rows]
                    loss = info_nce(logits, torch.eye(len(rows)), self.temperature, same)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    losses.append(loss.item())
                self.history_.append(float(np.mean(losses)))
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Scores (n_x, n_y) of pictures (n_x, n_patches, d_x) and sentences (n_y, n_tokens, d_y)."""
        return self._compare(self._see(x), self._read(y), mask)

    def _see(self, x: Tensor) -> Tensor:
        """Mapped patches, (n, n_patches, width)."""
        return self.see(F.dropout((x - self.patch_mean) / self.patch_scale, self.dropout, self.training))

    def _read(self, y: Tensor) -> Tensor:
        """Mapped tokens, (n, n_tokens, width), rows of length 1."""
        y = F.dropout((y - self.token_mean) / self.token_scale, self.dropout, self.training)
        return F.normalize(self.read(y), dim=-1)

    def _attend(self, seen: Tensor, words: Tensor) -> Tensor:
        """How much each token looks at each patch, (n_x, n_y, n_tokens, n_patches)."""
        keys = F.normalize(F.dropout(seen, self.dropout, self.training), dim=-1)
        return (self.log_sharpness.exp() * torch.einsum("btd,apd->abtp", words, keys)).softmax(-1)

    def _compare(self, seen: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        collected = torch.einsum("abtp,apd->abtd", self._attend(seen, words), seen)
        alike = (F.normalize(collected, dim=-1) * words).sum(-1)  # (n_x, n_y, n_tokens)
        return (alike * mask).sum(-1) / mask.sum(-1)

    @torch.no_grad()
    def scores(
        self, queries: np.ndarray, gallery: Sequence[np.ndarray], candidates: np.ndarray | None = None
    ) -> np.ndarray:
        """The score of pictures and sentences.

        Args:
            queries: (n_queries, n_patches, d_x) pictures; for the other direction, transpose what is returned.
            gallery: sentences, (n_tokens, d_y) each.
            candidates: (n_queries, n_gallery) boolean, the pairs to look at; all by default.

        Returns:
            (n_queries, n_gallery) float32 in [-1, 1], NaN for pairs that are not candidates.
        """
        require_fitted(self, "history_")
        x, y, mask = _pictures(queries), *_sentences(gallery)
        asked = np.ones((len(x), len(y)), bool) if candidates is None else np.asarray(candidates)
        if asked.shape != (len(x), len(y)) or asked.dtype != bool:
            raise ValueError(f"candidates must be boolean of shape {(len(x), len(y))}; got {asked.dtype} {asked.shape}")
        if (x.shape[2], y.shape[2]) != (widths := (len(self.patch_mean), len(self.token_mean))):
            raise ValueError(f"fitted with {widths} columns, of patches and tokens; got {(x.shape[2], y.shape[2])}")
        seen, words = self._see(x), self._read(y)  # once for each item; what follows, once for each pair
        scores = np.full(asked.shape, np.nan, np.float32)
        for column in np.flatnonzero(asked.any(axis=0)):
            own, rows = mask[column], np.flatnonzero(asked[:, column])
            sentence, whole = words[column, own][None], torch.ones(1, int(own.sum()), dtype=torch.bool)
            for part in np.split(rows, range(TOGETHER, len(rows), TOGETHER)):
                scores[part, column] = self._compare(seen[part], sentence, whole)[:, 0].numpy()
        return scores

    @torch.no_grad()
    def weights(self, picture: np.ndarray, sentence: np.ndarray) -> np.ndarray:
        """Where each token of one sentence looks in one picture: (n_tokens, n_patches), rows sum to 1."""
        require_fitted(self, "history_")
        seen, words = self._see(_pictures(picture[None])), self._read(_sentences([sentence])[0])
        return self._attend(seen, words)[0, 0].numpy()


def _pictures(patches: np.ndarray) -> Tensor:
    patches = np.asarray(patches, np.float32)
    if patches.ndim != 3 or not patches.size or not np.isfinite(patches).all():
        raise ValueError(f"patches must be finite, of shape (n, n_patches, d); got {patches.shape}")
    return torch.as_tensor(patches)


def _sentences(tokens: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Padded to the longest, (n, n_tokens, d), and a mask that is true where a token is."""
    rows = [np.asarray(each, np.float32) for each in tokens]
    for i, each in enumerate(rows):
        if each.ndim != 2 or not each.size or each.shape[1] != rows[0].shape[1] or not np.isfinite(each).all():
            raise ValueError(f"sentence {i} must be finite, (n_tokens, d) with one d for all; got shape {each.shape}")
    padded = torch.zeros(len(rows), max(map(len, rows), default=1), rows[0].shape[1] if rows else 1)
    mask = torch.zeros(padded.shape[:2], dtype=torch.bool)
    for i, each in enumerate(rows):
        padded[i, : len(each)], mask[i, : len(each)] = torch.as_tensor(each), True
    return padded, mask
