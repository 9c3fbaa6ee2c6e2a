"""The methods a grid can compare: what each is fitted to, with which settings, and how it scores items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xmr_lab._validation import unit
from xmr_lab.fusion import fuse_scores, standardize_scores
from xmr_lab.matching import (
    ConSE,
    CrossModalGraph,
    KernelCCA,
    KernelRidgeMap,
    MaxSimRidge,
    RidgeMap,
    SemanticMatching,
    TwoTower,
)
from xmr_lab.transfer import PairPropagation, SelfTraining

from .baselines import category, chance, popular
from .features import Features, Labelled, Scorer

__all__ = ["METHODS", "PAIRS", "TRANSFERS", "Method", "parts_of"]

PAIRS = ("image-text", "speech-text", "speech-image", "image+speech-text", "text+speech-image", "image+text-speech")
TRANSFERS = {
    "none": "nothing is learnt from pairs",
    "frozen": "a matcher on frozen features, from the labelled pairs alone",
    "unpaired": "the other training items as well, without their partners",
    "names": "the class names of the picture network's own training as well",
}
TRUST = {"image": 0.85, "text": 0.9, "speech": 0.5}  # of places among sentences; chosen on validation in notebook 16


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        about: what it is, in a few words.
        fit: called with what is labelled and one of the settings; returns what scores items.
        pairs, transfers: what it can be used for.
        settings: among which each cell chooses on validation data.
        drawn: the seed matters beyond the draw of the labelled pairs.
    """

    about: str
    fit: Callable[..., Scorer]
    pairs: Sequence[str] = PAIRS[:3]
    transfers: Sequence[str] = ("frozen",)
    settings: Sequence[dict[str, Any]] = field(default_factory=lambda: [{}])
    drawn: bool = False


def parts_of(pair: str) -> tuple[tuple[str, ...], str]:
    """The modalities of the queries, and that of the gallery.

    Examples:
        >>> parts_of("image+speech-text")
        (('image', 'speech'), 'text')
    """
    asked, offered = pair.split("-")
    return tuple(asked.split("+")), offered


def _matched(build: Callable[..., Any]) -> Callable[..., Scorer]:
    """A matcher of vectors, in each of the ways of transfer."""

    def fit(given: Labelled, **setting: Any) -> Scorer:
        x, y = given.views()
        rows, others = given.rows, given.others
        matcher = build(given, **setting)
        if given.transfer == "unpaired" and len(others):
            shuffled = np.random.default_rng(given.seed).permutation(others)
            kind = matcher if isinstance(matcher, PairPropagation) else SelfTraining(matcher)
            matcher = kind.fit(x[rows], y[rows], unpaired_x=x[others], unpaired_y=y[shuffled])
        elif isinstance(matcher, TwoTower):
            matcher.fit(x[rows], y[rows], concepts=given.features.concepts[rows])
        else:
            matcher.fit(x[rows], y[rows])

        def scores(at: np.ndarray) -> np.ndarray:
            return matcher.transform(x[at]) @ matcher.transform(y[at], view=1).T

        return _with_names(given, scores) if given.transfer == "names" else scores

    return fit


def _with_names(given: Labelled, scores: Scorer) -> Scorer:
    named = _conse(given)
    return lambda at: fuse_scores([scores(at), named(at)])


def _components(given: Labelled) -> int:
    """At most 64, and below the number of different rows in each view."""
    return min(64, *(len(np.unique(view[given.rows], axis=0)) - 1 for view in given.views()))


def _conse(given: Labelled) -> Scorer:
    features = given.features
    conse = ConSE(features.names, top=len(features.names), sharpness=0.5)
    text = features.vectors["text"]
    return lambda at: conse.transform(features.classes[at]) @ conse.transform(text[at], view=1).T


def _semantic(given: Labelled) -> Scorer:
    features = given.features
    model = SemanticMatching(features.names, temperature=0.05, sharpness=0.7)
    return lambda at: model.scores(features.classes[at], features.vectors["text"][at])


def _curved(given: Labelled) -> Scorer:
    image, text = given.views()
    kernel = KernelRidgeMap(0.1, gamma=2).fit(image[given.rows], text[given.rows])
    return lambda at: kernel.transform(image[at]) @ kernel.transform(text[at], view=1).T


def _walked(given: Labelled) -> Scorer:
    features, rows = given.features, given.rows
    image, text = given.views()
    links = np.sqrt(features.classes)
    graph = CrossModalGraph().fit(image[rows], text[rows], anchors=features.names, links=links[rows])

    def scores(at: np.ndarray) -> np.ndarray:
        there = graph.scores(image[at], text[at], links=links[at])
        back = graph.scores(text[at], image[at], view=1, links=links[at]).T
        return np.log(np.maximum(there, 1e-12)) + np.log(np.maximum(back, 1e-12))

    return scores


def _recipe(given: Labelled, *, without: str = "") -> Scorer:
    """Three ways of scoring, added; for the ablation, ``without`` one of kernel, semantic and graph."""
    ways = {"kernel": _curved, "semantic": _semantic, "graph": _walked}
    parts = [fit(given) for name, fit in ways.items() if name != without]
    return lambda at: fuse_scores([part(at) for part in parts])


def _frames(features: Features, rows: np.ndarray) -> list[np.ndarray]:
    return [frames for row in rows if (frames := features.frames[row]) is not None]


def _maxsim(given: Labelled, *, alpha: float, sharpness: float) -> Scorer:
    features, rows, target = given.features, given.rows, given.views()[1]
    matcher = MaxSimRidge(alpha, sharpness=sharpness).fit(_frames(features, rows), target[rows])
    return lambda at: matcher.transform(_frames(features, at)) @ matcher.transform(target[at], view=1).T


def _through_text(given: Labelled, *, only: str = "") -> Scorer:
    """Everything is placed among sentences; queries of several modalities add their scores."""
    features, rows = given.features, given.rows
    asked, offered = parts_of(given.pair)
    image, text = features.vectors["image"], features.vectors["text"]
    used = {*((only,) if only else asked), offered}
    place: dict[str, Scorer] = {"text": lambda at: unit(text[at] - text[rows].mean(axis=0))}
    if "image" in used:
        seen = KernelRidgeMap(0.1, gamma=2).fit(image[rows], text[rows])
        conse = ConSE(features.names, top=len(features.names), sharpness=0.5)
        place["image"] = lambda at: unit(seen.transform(image[at]) + conse.transform(features.classes[at]))
    if "speech" in used:
        heard = MaxSimRidge(0.1, sharpness=4).fit(_frames(features, rows), text[rows])
        place["speech"] = lambda at: heard.transform(_frames(features, at))

    def scores(at: np.ndarray) -> np.ndarray:
        total = np.zeros((len(at), len(at)))
        for one in (only,) if only else asked:
            r = TRUST[one] * TRUST[offered]
            total += r / (1 - r * r) * standardize_scores(place[one](at) @ place[offered](at).T)
        return total

    return scores


def _alone(modality: str) -> Method:
    return Method(
        f"through text, by the {modality} of a query alone",
        lambda given: _through_text(given, only=modality),
        pairs=[pair for pair in PAIRS[3:] if modality in parts_of(pair)[0]],
    )


def _ablated(part: str) -> Method:
    return Method(f"recipe without {part}", lambda given: _recipe(given, without=part), IMAGE_TEXT, ["names"])


IMAGE_TEXT = PAIRS[:1]
ANY = "frozen", "unpaired"
RIDGE = [{"alpha": alpha} for alpha in (1e-3, 1e-2, 1e-1)]
KERNEL = [{"alpha": 0.1, "gamma": 2.0}, {"alpha": 0.1, "gamma": 0.5}, {"alpha": 1.0, "gamma": 2.0}]
STRENGTHS = [{"regularization": r} for r in (0.1, 0.3, 0.7)]
MAXSIM = [{"alpha": 0.1, "sharpness": 4.0}, {"alpha": 0.1, "sharpness": 8.0}, {"alpha": 1.0, "sharpness": 4.0}]

METHODS: dict[str, Method] = {
    "chance": Method("all scores equal", chance, PAIRS, ["none"]),
    "popular": Method("the same typical items for every query", popular),
    "category": Method("whether both sides are taken for one category", category),
    "conse": Method("pictures by the names of their classes, as text (ConSE)", _conse, IMAGE_TEXT, ["none"]),
    "semantic": Method("both sides by the classes that they are near to", _semantic, IMAGE_TEXT, ["none"]),
    "ridge": Method(
        "a linear map from one space to the other (ridge regression)", _matched(lambda _, **s: RidgeMap(**s)),
        transfers=[*ANY, "names"], settings=RIDGE,
    ),
    "kernel_ridge": Method(
        "a curved map from one space to the other", _matched(lambda _, **s: KernelRidgeMap(**s)),
        transfers=[*ANY, "names"], settings=KERNEL,
    ),
    "cca": Method(  # in its dual form: the covariance of 1280 columns costs more than 471 rows
        "directions in which both sides agree",
        _matched(lambda given, **s: KernelCCA(_components(given), kernel="linear", **s)),
        transfers=[*ANY, "names"], settings=STRENGTHS,
    ),
    "kernel_cca": Method(
        "CCA with a kernel", _matched(lambda given, **s: KernelCCA(_components(given), gamma=2, **s)),
        transfers=[*ANY, "names"], settings=STRENGTHS,
    ),
    "two_tower": Method(
        "two small networks, trained together (InfoNCE)", _matched(lambda given, **s: TwoTower(seed=given.seed, **s)),
        transfers=["frozen", "names"], settings=[{"epochs": 20}, {"epochs": 60}], drawn=True,
    ),
    "propagation": Method(
        "pairs passed on between neighbours", _matched(lambda _, **s: PairPropagation(**s)),
        transfers=["unpaired"], settings=[{"k": 5}, {"k": 10}],
    ),
    "recipe": Method("scores of a curved map, class names and a graph, added", _recipe, IMAGE_TEXT, ["names"]),
    "recipe_without_kernel": _ablated("kernel"),
    "recipe_without_semantic": _ablated("semantic"),
    "recipe_without_graph": _ablated("graph"),
    "maxsim": Method("speech compared window by window", _maxsim, PAIRS[1:3], settings=MAXSIM),
    "through_text": Method("all are placed among sentences; scores of several are added", _through_text, PAIRS[2:]),
    "image_alone": _alone("image"),
    "text_alone": _alone("text"),
    "speech_alone": _alone("speech"),
}  # fmt: skip
