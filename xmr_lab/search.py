"""Search a collection with a sentence, a picture or a spoken phrase: what notebook 00 builds, as a tool.

The ways from pictures and from speech to sentences are learned on the training pairs of Stamps, whatever
collection is searched: a collection of one's own needs no pairs.
"""

from __future__ import annotations

import io
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from .data import Audio, Collection, View, decode_audio, decode_image, load_folder, load_stamps
from .encoders import EfficientNetLite0, MiniLM, SpeechEmbedding, cached, cached_encode
from .encoders.base import unit_rows
from .encoders.cache import run
from .fusion import fuse_scores
from .matching import ConSE, MaxSimRidge, RidgeMap
from .notebooks import write
from .retrieval import similarity

__all__ = ["Searcher", "read_query", "search_command"]

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
SOUNDS = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
Query = str | Image.Image | Audio


class Searcher:
    """Ranks the items of a collection for a query of any modality.

    Sentences and speech find pictures, a picture finds captions; where the collection lacks these, the other.

    Args:
        gallery: the collection to search; Stamps by default.
        language: of spoken queries; one of those that Stamps has speech in.

    Raises:
        ValueError: if it has none in ``language``.
    """

    def __init__(self, gallery: Collection | None = None, *, language: str = "es") -> None:
        self.stamps = load_stamps()
        if language not in (spoken := self.stamps.languages("audio")):
            raise ValueError(f"no speech in {language!r} to learn from; language is one of {', '.join(spoken)}")
        self.gallery = self.stamps if gallery is None else gallery
        self.language = language
        self.pictures, self.sentences, self.sounds = EfficientNetLite0(), MiniLM(), SpeechEmbedding()

    @cached_property
    def ridge(self) -> RidgeMap:
        """From pictures to sentences, learned from pairs."""
        train = self.stamps.select(split="train")
        features = unit_rows(cached_encode(self.pictures, train.images, normalize=False))
        return RidgeMap(alpha=1e-3).fit(features, cached_encode(self.sentences, train.texts("en")))

    @cached_property
    def conse(self) -> ConSE:
        """From pictures to sentences by way of class names, learned from no pair."""
        names = cached_encode(self.sentences, self.pictures.class_names)
        return ConSE(names, top=len(names), sharpness=0.5)

    @cached_property
    def speech(self) -> MaxSimRidge:
        """From spoken phrases to sentences, learned from pairs."""
        train = self.stamps.select(split="train", modality="audio", language=self.language)
        frames = cached(self.sounds, train.speech(self.language), method="frames")
        return MaxSimRidge().fit(frames, cached_encode(self.sentences, train.texts("en")))

    def places(self, items: View | list, modality: str) -> list[np.ndarray]:
        """Where items of a modality lie in the space of sentences: by `ridge` and by `conse`; speech, by one."""
        encoder: Any
        encoder, method = {
            "text": (self.sentences, "encode"),
            "image": (self.pictures, "encode_raw"),
            "audio": (self.sounds, "frames"),
        }[modality]
        # a gallery is worth keeping on disk, a query is not
        keep = isinstance(items, View)
        vectors: Any = cached(encoder, items, method=method) if keep else run(encoder, items, method, False)
        if modality == "text":
            return [self.ridge.transform(vectors, view=1), self.conse.transform(vectors, view=1)]
        if modality == "image":
            return [self.ridge.transform(unit_rows(vectors)), self.conse.transform(self.pictures.classify(vectors))]
        return [self.speech.transform(vectors)]

    def search(self, query: Query, k: int = 10) -> pd.DataFrame:
        """The best ``k`` items: one row each with ``id``, ``score`` (standardised), ``text``, ``position``.

        Raises:
            TypeError: if the query is no text, picture or sound.
            ValueError: if it is an empty text, ``k`` is below 1, or there are neither pictures nor captions.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        kinds = {"text": str, "image": Image.Image, "audio": Audio}
        modality = next((kind for kind, type_ in kinds.items() if isinstance(query, type_)), None)
        if modality is None:
            raise TypeError(f"expected a text, a picture or a sound, got {type(query).__name__}")
        view, theirs = self._searched("image" if modality != "image" else "text")
        ours = self.places([query], modality)
        scores = fuse_scores([similarity(a, b) for a, b in zip(ours, theirs, strict=False)])[0]  # (n_gallery,)
        best = np.argsort(-scores, kind="stable")[:k]
        positions = view.positions[best]
        items = [self.gallery[int(position)] for position in positions]
        texts = [item.texts.get("en") or next(iter(item.texts.values()), "") for item in items]
        columns = {"id": view.ids[best], "score": scores[best].round(2), "text": texts, "position": positions}
        return pd.DataFrame(columns, index=pd.RangeIndex(1, len(best) + 1, name="rank"))

    @cache  # noqa: B019 - a searcher lives as long as its session
    def _searched(self, wanted: str) -> tuple[View, list[np.ndarray]]:
        """The items to rank, of the wanted modality if there are any, and their places."""
        keys = [key for key in self.gallery.fields if key[0] in ("image", "text")]
        if not keys:
            raise ValueError(f"collection {self.gallery.name!r} has neither pictures nor captions to search")
        view = self.gallery.view(*min(keys, key=lambda key: (key[0] != wanted, key[1] != "en")))
        return view, self.places(view, view.modality)


def read_query(text: str) -> Query:
    """A picture or a sound if ``text`` is the path of one, else the text itself.

    Raises:
        FileNotFoundError: if it ends like the name of a picture or sound, and there is no such file.
        ValueError: if the file is damaged, or the text is empty.
    """
    path = Path(text)
    ending = path.suffix.lower()
    if ending in PICTURES | SOUNDS:
        if not path.is_file():
            raise FileNotFoundError(f"no file {text!r}. To search for these words, leave out the ending {ending!r}.")
        return decode_image(path) if ending in PICTURES else decode_audio(path)
    if not text.strip():
        raise ValueError("the query is empty: give a sentence, or the path of a picture or sound")
    return text


def search_command(
    query: str, *, folder: Path | None = None, k: int = 10, out: Path = Path("contact_sheet.png"), language: str = "es"
) -> None:
    """``xmr-lab search``: print the best matches and write their contact sheet."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from .plots import contact_sheet, use_style

    asked = read_query(query)
    searcher = Searcher(load_folder(folder) if folder else None, language=language)
    found = searcher.search(asked, k)
    with pd.option_context("display.width", 120, "display.max_colwidth", 60):
        print(found.drop(columns="position").to_string())
    items = [searcher.gallery[int(position)] for position in found["position"]]
    shown = [(item.image, text or item.id) for item, text in zip(items, found["text"], strict=True) if item.image]
    if not shown:
        print("None of these has a picture, so there is no contact sheet.")
        return
    use_style()
    figure = contact_sheet([image for image, _ in shown], titles=[title for _, title in shown])
    drawn = io.BytesIO()
    figure.savefig(drawn, format=(out.suffix or ".png")[1:])
    plt.close(figure)
    write(drawn.getvalue(), out)
    print(f"Contact sheet: {out}")
