"""Ranks the items of a collection for a query of one or several parts: a text, pictures, sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from xmr_lab.data import Audio, Collection
from xmr_lab.encoders import cached
from xmr_lab.encoders.cache import run

from .bridges import KINDS, Bridges
from .sentences import LATIN

__all__ = ["Channel", "Found", "Query", "Searcher"]

Query = str | Image.Image | Audio
HeardAs = Literal["auto", "speech", "sound"]

# How far scores can be trusted: of what goes through sentences, the product of both sides; else, of like with like.
# Chosen among three settings on the validation items of Stamps.
TRUST = {"caption": 0.9, "picture": 0.85, "speech": 0.5, "sound": 0.4}
ALIKE = {"caption": 0.9, "picture": 0.75, "sound": 0.9}
SILENCE = 1e-3  # of the largest sample that there can be


class Captions(list):
    """Texts and the rows of the collection that they belong to, as a view has them."""

    def __init__(self, texts: dict[int, str], ids: np.ndarray) -> None:
        super().__init__(texts.values())
        self.sources, self.ids, self.positions = list(self), ids[[*texts]], np.array([*texts], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Channel:
    """One kind of thing by which items are found: captions, pictures, speech in a language, or sounds."""

    kind: str
    language: str
    items: Any  # a View or Captions

    @property
    def name(self) -> str:
        return f"{self.kind} ({self.language})" if self.kind == "speech" else self.kind


@dataclass(frozen=True)
class Found:
    """The answer: one row an item, best first, and what was assumed to get it.

    Attributes:
        table: ``id``, ``score``, ``matched`` (what spoke for it), ``text``, ``position`` in the collection.
        notes: how the parts of the query were understood.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]


class Searcher:
    """Finds items by text, picture, speech and sound, whichever of these they have.

    Each part of the query is compared with each kind of thing that items have; the scores are standardised, and
    averaged over what an item has, the more trusted counting more (`combined`). What is spoken or sounds stands in
    for a caption where there is none; with captions its errors would only add noise.

    Args:
        gallery: the collection to search; Stamps by default.
        language: of spoken queries; one of those that Stamps has speech in.
        through: kinds to search by, of ``"caption"``, ``"picture"``, ``"speech"``, ``"sound"``; all by default.
        embed: what turns items into vectors, called as `xmr_lab.encoders.cached`.

    Raises:
        ValueError: if Stamps has no speech in ``language``, or the collection nothing of the kinds wanted.
    """

    def __init__(
        self,
        gallery: Collection | None = None,
        *,
        language: str = "es",
        through: Sequence[str] = (),
        embed: Callable[..., np.ndarray] = cached,
    ) -> None:
        if wrong := set(through) - set(KINDS):
            raise ValueError(f"through is some of {', '.join(KINDS)}; got {', '.join(sorted(wrong))}")
        self.bridges = shared_bridges()
        self.bridges.spoken(language)  # fails early
        self.gallery = self.bridges.stamps if gallery is None else gallery
        self.language, self.through, self.embed = language, tuple(through), embed
        self.channels = [each for each in channels(self.gallery, self.bridges) if not through or each.kind in through]
        if not self.channels:
            wanted = f" {' or '.join(through)}" if through else "thing that can be searched"
            raise ValueError(f"collection {self.gallery.name!r} has no{wanted}")
        self.vectors = cache(self._vectors)

    def _vectors(self, channel: Channel) -> np.ndarray:
        encoder, method = self.bridges.encoder(channel.kind, channel.language)
        return self.embed(encoder, channel.items, method=method)

    def search(self, query: Query | Sequence[Query], k: int = 10, *, heard_as: HeardAs = "auto") -> pd.DataFrame:
        """The best ``k`` items: one row each with ``id``, ``score``, ``matched``, ``text``, ``position``.

        Args:
            query: a text, a picture or a sound, or several of them that describe one thing.
            k: how many; more than there are means all.
            heard_as: what a sound is: ``"speech"`` in the searcher's language, a ``"sound"`` (an effect, a noise),
                or what it sounds like (``"auto"``).

        Raises:
            TypeError: if the query is no text, picture or sound.
            ValueError: if it is empty, ``k`` is below 1, or there are neither pictures nor captions.
        """
        return self.find(query, k, heard_as=heard_as).table

    def find(self, query: Query | Sequence[Query], k: int = 10, *, heard_as: HeardAs = "auto") -> Found:
        """As `search`, with notes on how the query was understood."""
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        parts = list(query) if isinstance(query, list | tuple) else [query]
        if not parts:
            raise ValueError("the query is empty: give a text, a picture or a sound")
        evidence: list[tuple[str, dict[str, np.ndarray]]] = []  # a kind, and scores by channel, for each part
        notes, trusted = [], []
        for part in parts:
            kind, note = self._understood(part, heard_as)
            notes += [note] if note else []
            evidence.append((kind, self._part_scores(kind, part)))
            trusted += [trust(kind, name) for name in evidence[-1][1]]
        if not trusted:
            raise ValueError("none of the items has anything that this query can be compared with")
        fused = combined([scores for _, by_channel in evidence for scores in by_channel.values()], trusted)
        found = np.flatnonzero(~np.isnan(fused))
        best = found[np.argsort(-fused[found], kind="stable")][:k]
        return Found(self._table(best, fused, evidence), tuple(notes))

    def _understood(self, part: Any, heard_as: HeardAs) -> tuple[str, str]:
        """The kind of a part of the query, and what had to be assumed."""
        if isinstance(part, str):
            if not part.strip():
                raise ValueError("the text is empty")
            return "caption", self._read_as(part)
        if isinstance(part, Image.Image):
            return "picture", ""
        if not isinstance(part, Audio):
            raise TypeError(f"expected a text, a picture or a sound, got {type(part).__name__}")
        if heard_as not in ("auto", "speech", "sound"):
            raise ValueError(f"a sound is heard as 'speech', as a 'sound', or 'auto'; got {heard_as!r}")
        if heard_as == "auto":
            encoder, method = self.bridges.encoder("sound")
            effect = self.bridges.effect_or_speech.predict_proba(run(encoder, [part], method, False))[0, 1]
            kind, how = ("sound" if effect > 0.5 else "speech"), f", with probability {max(effect, 1 - effect):.2f}"
        else:
            kind, how = heard_as, ""
        what = f"speech{how}; in {self.language!r}, by assumption" if kind == "speech" else f"a sound effect{how}"
        silent = np.abs(part.samples).max(initial=0) < SILENCE
        warning = " It is silent: what is found says nothing about it." if silent else ""
        return kind, f"The clip of {part.seconds:.1f} s is heard as {what}.{warning}"

    def _read_as(self, text: str) -> str:
        """In which language, if that is worth saying."""
        language, unknown = self.bridges.texts.language_of(text)
        if language not in ("en", ""):
            but = f"; not known: {', '.join(unknown)}" if unknown else ""
            return f"The text {text!r} is read as {language}, by what Stamps has in that language{but}."
        if language or text.isascii() or LATIN.search(text):
            return ""
        return f"The text {text!r} is read as English, since its words are in no caption of another language in Stamps."

    def _part_scores(self, kind: str, part: Any) -> dict[str, np.ndarray]:
        """By channel, (n_gallery,) standardised scores, NaN where an item has nothing of the kind."""
        encoder, method = self.bridges.encoder(kind, self.language)
        vector: Any = run(encoder, [part], method, False)
        found: dict[str, np.ndarray] = {}
        captioned = np.zeros(len(self.gallery), bool)
        for channel in self.channels:
            rows = channel.items.positions
            heard = channel.kind == "speech" or (channel.kind == "sound" and kind != "sound")
            stand_in = heard and not self.through
            used = ~captioned[rows] if stand_in else np.ones(len(rows), bool)
            if channel.kind == "caption":
                captioned[rows] = True
            if used.any():
                scores = self.bridges.scores(
                    kind, vector, channel.kind, self.vectors(channel)[used], channel.language or self.language
                )
                found[channel.name] = np.full(len(self.gallery), np.nan)
                found[channel.name][rows[used]] = scores
        return found

    def _table(
        self, best: np.ndarray, fused: np.ndarray, evidence: list[tuple[str, dict[str, np.ndarray]]]
    ) -> pd.DataFrame:
        items = [self.gallery[int(position)] for position in best]
        matched = []
        for position in best:
            by_part = []
            for kind, by_channel in evidence:
                known = [(float(s[position]), name) for name, s in by_channel.items() if not np.isnan(s[position])]
                words = ", ".join(f"{name} {score:+.1f}" for score, name in sorted(known, reverse=True))
                part = "text" if kind == "caption" else kind
                by_part += [f"{part}: {words}" if len(evidence) > 1 else words] if words else []
            matched.append("; ".join(by_part))
        columns = {
            "id": [item.id for item in items],
            "score": fused[best].round(2),
            "matched": matched,
            "text": [caption(item.texts) for item in items],
            "position": best,
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(1, len(best) + 1, name="rank"))


def trust(kind: str, name: str) -> float:
    """How far scores of a query of a kind with a channel can be trusted, as a correlation with what is right."""
    other = name.split()[0]
    return ALIKE[kind] if kind == other and kind in ALIKE else TRUST[kind] * TRUST[other]


def combined(scores: Sequence[np.ndarray], trusted: Sequence[float]) -> np.ndarray:
    r"""What several scores of an item say together, (n_gallery,); NaN if it has none.

    The expectation of a relevance t ~ N(0, 1), given scores :math:`z_i = r_i t + \sqrt{1 - r_i^2}\, \varepsilon_i`:
    :math:`\sum_i a_i z_i / (1 + \sum_i a_i r_i)` with :math:`a_i = r_i / (1 - r_i^2)`, over the scores that there are.
    What an item lacks counts neither for nor against it; the less is known of it, the nearer to 0 it stays.

    Args:
        scores: standardised, (n_gallery,) each, NaN where an item lacks the modality.
        trusted: r in (0, 1) for each.
    """
    r, z = np.asarray(trusted)[:, None], np.stack(scores)
    a = np.where(np.isnan(z), 0.0, r / (1 - r**2))
    total = (a * np.nan_to_num(z)).sum(axis=0) / (1 + (a * r).sum(axis=0))
    return np.where(np.isnan(z).all(axis=0), np.nan, total)


def caption(texts: dict[str, str]) -> str:
    """The text to search and show: in English, else in no language in particular, else the first."""
    return texts.get("en") or texts.get("") or next(iter(texts.values()), "")


def channels(gallery: Collection, bridges: Bridges) -> list[Channel]:
    """What the items of a collection can be found by; captions first."""
    order = sorted((key for key in gallery.fields if key[0] == "text"), key=lambda key: (key[1] != "en", key[1] or ""))
    texts: dict[int, str] = {}
    for key in order[:1] if gallery is bridges.stamps else order:
        view = gallery.view(*key)
        for position, text in zip(view.positions, view.sources, strict=True):
            texts.setdefault(int(position), str(text))
    found = []
    if texts:
        captions = Captions(dict(sorted(texts.items())), gallery.table["id"].to_numpy())
        found.append(Channel("caption", "en" if gallery is bridges.stamps else "", captions))
    if ("image", None) in gallery.fields:
        found.append(Channel("picture", "", gallery.images))
    for language in gallery.languages("audio"):
        if language in bridges.stamps.languages("audio"):
            found.append(Channel("speech", language, gallery.speech(language)))
    if ("audio", None) in gallery.fields:
        found.append(Channel("sound", "", gallery.sounds))
    return [channel for channel in found if len(channel.items)]


@cache
def shared_bridges() -> Bridges:
    """One for the whole process: encoders take seconds to load."""
    return Bridges()
