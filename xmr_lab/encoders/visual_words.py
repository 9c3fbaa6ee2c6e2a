"""Pictures as sets of visual words: SIFT descriptors, k-means, a bag of words or VLAD."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from .base import BatchEncoder, array_digest, fingerprint_of
from .cache import cached
from .image import on_white_square

__all__ = ["Sift", "VisualWords"]


class Sift(BatchEncoder):
    """Keypoints of a picture, and a descriptor of the surroundings of each; as a vector, the descriptors' mean.

    Args:
        root: take the root of descriptors that sum to 1 (RootSIFT), rather than scale them to length 1.
        size: pictures are put on a white square of so many pixels, and taken as grey.

    References:
        Lowe (2004), doi:10.1023/B:VISI.0000029664.99615.94;
        Arandjelović & Zisserman (2012), doi:10.1109/CVPR.2012.6248018, for RootSIFT.

    Examples:
        >>> keypoints, descriptors = Sift().detect(Image.new("RGB", (50, 50), "white"))
        >>> keypoints.shape, descriptors.shape
        ((0, 4), (0, 128))
    """

    modality = "image"
    dim = 128

    def __init__(self, *, root: bool = True, size: int = 224) -> None:
        if size < 16:
            raise ValueError(f"size must be at least 16, got {size}")
        self.root, self.size = root, size
        self.fingerprint = fingerprint_of("Sift", 1, root, size)

    def detect(self, image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
        """Of one picture: (n, 4) row, column, scale and orientation (pixels of the square, radians); (n, 128)."""
        from skimage.feature import SIFT

        grey = np.asarray(on_white_square(image, self.size).convert("L"), np.float64) / 255
        detector = SIFT(upsampling=1)  # twice the size finds more keypoints, at four times the cost
        try:
            detector.detect_and_extract(grey)
        except RuntimeError:  # what scikit-image raises if it finds none
            return np.empty((0, 4), np.float32), np.empty((0, 128), np.float32)
        keypoints = np.column_stack([detector.keypoints, detector.sigmas, detector.orientations])
        found = detector.descriptors.astype(np.float32)
        if self.root:
            found = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1))
        else:
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1)
        return keypoints.astype(np.float32), found

    def descriptors(
        self, items: Sequence[Image.Image], *, batch_size: int = 32, progress: bool = True
    ) -> list[np.ndarray]:
        """Those of each picture: (n_keypoints, 128) float32."""
        batches = self.batches(items, batch_size=batch_size, progress=progress)
        return [each for batch in batches for each in batch]

    def prepare(self, item: Image.Image) -> np.ndarray:
        return self.detect(item)[1]

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        return np.stack([each.sum(axis=0) / max(len(each), 1) for each in prepared])


class VisualWords(BatchEncoder):
    r"""Which visual words a picture has, or how far its descriptors are from them.

    The words are the centres :math:`c_1 \dots c_K` of a k-means clustering of the descriptors of training
    pictures. A ``"bag"`` counts the descriptors nearest to each word; a vector holds the root of each count,
    so that a repeated pattern does not drown the rest, times the word's inverse document frequency. ``"vlad"``
    adds up the differences :math:`x - c_k` of the descriptors nearest to each word, takes the root of every
    number's size and scales the whole to length 1. A picture without keypoints is a row of zeros.

    Args:
        n_words: K. A vector has K numbers (bag), or 128 K (VLAD).
        aggregation: ``"bag"`` or ``"vlad"``.
        root, size: of `Sift`.
        seed: of k-means.

    References:
        Sivic & Zisserman (2003), doi:10.1109/ICCV.2003.1238663, for the bag;
        Jégou, Douze & Schmid (2009), doi:10.1109/CVPR.2009.5206609, for the root of the counts;
        Jégou et al. (2010), doi:10.1109/CVPR.2010.5540039, for VLAD.
    """

    modality = "image"

    def __init__(
        self,
        n_words: int = 64,
        *,
        aggregation: Literal["bag", "vlad"] = "vlad",
        root: bool = True,
        size: int = 224,
        seed: int = 0,
    ) -> None:
        if aggregation not in ("bag", "vlad"):
            raise ValueError(f"unknown aggregation {aggregation!r}; expected bag or vlad")
        if n_words < 1:
            raise ValueError(f"n_words must be at least 1, got {n_words}")
        self.n_words, self.aggregation, self.seed = n_words, aggregation, seed
        self.sift = Sift(root=root, size=size)
        self.dim = n_words if aggregation == "bag" else 128 * n_words

    @property
    def settings(self) -> tuple[Any, ...]:
        """Decide what is learnt; see `Trainable`."""
        return ("VisualWords", 1, self.n_words, self.aggregation, self.sift.root, self.sift.size, self.seed)

    def fit(self, items: Sequence[Image.Image], targets: None = None) -> VisualWords:
        """Learn the words from training pictures; their descriptors are kept in the cache.

        Raises:
            ValueError: if they have fewer descriptors than there are to be words.
        """
        return self.fit_descriptors(cached(self.sift, items, method="descriptors", progress=False))

    def fit_descriptors(self, descriptors: Sequence[np.ndarray]) -> VisualWords:
        """`fit`, where the descriptors of the training pictures are at hand."""
        from sklearn.cluster import KMeans

        if (found := sum(map(len, descriptors))) < self.n_words:
            raise ValueError(f"{self.n_words} words need as many descriptors, these pictures have {found}")
        kmeans = KMeans(self.n_words, n_init=1, random_state=self.seed)
        self.words_ = kmeans.fit(np.concatenate(descriptors)).cluster_centers_.astype(np.float32)  # (n_words, 128)
        having = sum(np.bincount(self.assign(each), minlength=self.n_words) > 0 for each in descriptors)
        self.idf_ = np.log((1 + len(descriptors)) / (1 + having)).astype(np.float32)  # (n_words,)
        return self

    def state(self) -> dict[str, np.ndarray]:
        """The words and their inverse document frequencies; see `Trainable`."""
        self._check_fitted()
        return {"words": self.words_, "idf": self.idf_}

    def restore(self, state: dict[str, np.ndarray]) -> VisualWords:
        """The inverse of `state`."""
        self.words_, self.idf_ = state["words"], state["idf"]
        return self

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of("VisualWords", 1, self.settings, array_digest(self.state()))

    def assign(self, descriptors: np.ndarray) -> np.ndarray:
        """(n_keypoints,) which word is nearest to each descriptor."""
        self._check_fitted()
        distances = (self.words_**2).sum(axis=1) - 2 * descriptors @ self.words_.T  # squared, but for a constant
        return distances.argmin(axis=1)

    def prepare(self, item: Image.Image) -> np.ndarray:
        return self.sift.prepare(item)

    def embed(self, prepared: list[np.ndarray]) -> np.ndarray:
        """Vectors of pictures whose descriptors are at hand: (n, dim) float32."""
        aggregate = self._bag if self.aggregation == "bag" else self._vlad
        return np.stack([aggregate(each, self.assign(each)) for each in prepared])

    def _bag(self, descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
        return np.sqrt(np.bincount(words, minlength=self.n_words)).astype(np.float32) * self.idf_

    def _vlad(self, descriptors: np.ndarray, words: np.ndarray) -> np.ndarray:
        sums = np.zeros((self.n_words, 128), np.float32)
        np.add.at(sums, words, descriptors - self.words_[words])
        rooted = (np.sign(sums) * np.sqrt(np.abs(sums))).ravel()
        return rooted / max(float(np.linalg.norm(rooted)), 1e-12)

    def _check_fitted(self) -> None:
        if not hasattr(self, "words_"):
            raise ValueError("VisualWords knows no words yet. Call fit(training_pictures) first.")
