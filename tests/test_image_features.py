"""Image features: each against a slow version or an oracle, the same whatever the batch, and what must not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageDraw

from xmr_lab.encoders import (
    HOG,
    ColourHistogram,
    ConvNet,
    EdgeHistogram,
    EfficientNetLite0,
    Sift,
    TextureHistogram,
    VisualWords,
    cached_fit,
    encoder_names,
    load_encoder,
)
from xmr_lab.encoders.image import LAYERS, on_white_square, split_layers


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A transparent stamp with a few coloured shapes, so that there are edges, corners and blobs."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = rng.integers(5, 40, 4)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h // 2), fill=(*(int(c) for c in rng.integers(0, 255, 3)), 255))
    return image


PICTURES = [picture(seed) for seed in range(10)]
LABELS = ["round", "square"] * 5
BLANK = Image.new("RGBA", (30, 20), (200, 0, 0, 0))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))


def every_encoder():
    yield from (ColourHistogram(), ColourHistogram(space="lab", bins=(4, 6, 6)), EdgeHistogram(grid=2))
    yield from (TextureHistogram(), HOG(), Sift(size=96), EfficientNetLite0(layer="block3"))
    yield VisualWords(6, aggregation="bag", size=96).fit(PICTURES)
    yield VisualWords(3, size=96).fit(PICTURES)
    yield ConvNet(8, size=16, steps=2).fit(PICTURES, LABELS)


def test_vectors_do_not_depend_on_batch_or_order():
    items = [*PICTURES[:4], BLANK, PICTURES[5].convert("L"), picture(3, (17, 60)).convert("P")]
    for encoder in every_encoder():
        want = encoder.encode(items, normalize=False, progress=False)
        assert want.shape == (len(items), encoder.dim) and want.dtype == np.float32 and np.isfinite(want).all()
        for batch_size in (1, 3):
            got = encoder.encode(items[::-1], batch_size=batch_size, normalize=False, progress=False)[::-1]
            assert_allclose(got, want, atol=1e-6 * np.abs(want).max(), rtol=0)
        with pytest.raises(TypeError, match=r"PIL picture.*\(item 1\)"):
            encoder.encode([PICTURES[0], "a.png"], progress=False)


def test_names_load_what_they_say():
    assert {"sift_bag", "sift_vlad", "convnet", "colour_histogram"} <= set(encoder_names("image"))
    prints = [encoder.fingerprint for encoder in every_encoder()]
    assert len(set(prints)) == len(prints)
    with pytest.raises(ValueError, match="learns from"):
        load_encoder("convnet")
    assert load_encoder("sift_vlad", train=PICTURES).dim == 8 * 128


# --- colours, edges, patterns


@pytest.mark.parametrize("space", ["hsv", "lab"])
def test_colour_histogram_equals_counting_and_ignores_what_cannot_be_seen(space):
    image = PICTURES[0]
    hidden = np.array(image)
    hidden[hidden[..., 3] == 0] = (255, 255, 0, 0)
    encoder = ColourHistogram(space=space, bins=(5, 4, 3))
    shown, same = encoder.encode([image, Image.fromarray(hidden)])
    assert_array_equal(shown, same)
    from skimage.color import rgb2hsv, rgb2lab

    counts = np.zeros((5, 4, 3))
    for r, g, b, alpha in np.asarray(image).reshape(-1, 4):
        values = (rgb2hsv if space == "hsv" else rgb2lab)(np.array([[[r, g, b]]]) / 255)[0, 0]
        low, high = (0, 1) if space == "hsv" else (np.array([0, -100, -100]), 100)
        place = np.clip(((values - low) / (high - low) * (5, 4, 3)).astype(int), 0, (4, 3, 2))
        counts[tuple(place)] += alpha / 255
    assert_allclose(shown, np.sqrt(counts / counts.sum()).ravel(), atol=1e-6)
    assert not encoder.encode([BLANK]).any()


def test_colour_histogram_forgets_where_and_texture_forgets_rotation():
    turned = [image.transpose(Image.Transpose.ROTATE_90) for image in PICTURES]
    for encoder in (ColourHistogram(), TextureHistogram()):
        assert_allclose(encoder.encode(PICTURES), encoder.encode(turned), atol=1e-5)
    assert np.abs(HOG().encode(PICTURES) - HOG().encode(turned)).max() > 0.05


def test_edge_histogram_knows_directions_and_places():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:32, 1::4] = stripes[:32, 2::4] = 255  # upright stripes above, black below
    vector = EdgeHistogram(bins=4, grid=2, size=64).encode([Image.fromarray(stripes)]).reshape(2, 2, 4)
    upright, level = vector[..., 0], vector[..., 2]  # by the direction of the gradient
    assert (upright[0] > 0.6).all() and (upright[1] < 0.2).all() and (level[1] > upright[1]).all()
    negative = EdgeHistogram(bins=4, grid=2, size=64).encode([Image.fromarray(255 - stripes)]).reshape(2, 2, 4)
    assert_allclose(negative, vector, atol=1e-6)


def test_hog_equals_its_definition():
    grey = np.asarray(on_white_square(PICTURES[1], 64).convert("L"), np.float64)
    down, right = np.zeros_like(grey), np.zeros_like(grey)
    down[1:-1], right[:, 1:-1] = grey[2:] - grey[:-2], grey[:, 2:] - grey[:, :-2]
    strength, angle = np.hypot(down, right), np.rad2deg(np.arctan2(down, right)) % 180
    cells = np.zeros((8, 8, 9))
    for y in range(64):
        for x in range(64):
            cells[y // 8, x // 8, min(int(angle[y, x] // 20), 8)] += strength[y, x] / 64
    blocks = [cells[y : y + 2, x : x + 2].ravel() for y in range(7) for x in range(7)]
    clipped = [np.minimum(b / np.sqrt((b**2).sum() + 1e-10), 0.2) for b in blocks]
    want = np.concatenate([b / np.sqrt((b**2).sum() + 1e-10) for b in clipped])
    assert_allclose(HOG().encode([PICTURES[1]], normalize=False)[0], want, atol=1e-5)


# --- SIFT and visual words


def test_sift_is_normalised_turns_with_the_picture_and_may_find_nothing():
    keypoints, descriptors = Sift(size=128).detect(PICTURES[2])
    assert len(keypoints) == len(descriptors) > 5
    assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    square = on_white_square(PICTURES[2], 128)
    there = Sift(size=128).detect(square.transpose(Image.Transpose.ROTATE_90))[1]
    best = (descriptors @ there.T).max(axis=1)
    assert np.median(best) > 0.98
    nothing = Sift(size=64).detect(BLANK)
    assert nothing[0].shape == (0, 4) and nothing[1].shape == (0, 128)


@pytest.mark.parametrize("aggregation", ["bag", "vlad"])
def test_visual_words_equal_loops(aggregation):
    words = VisualWords(5, aggregation=aggregation, size=96).fit(PICTURES)
    descriptors = words.sift.descriptors(PICTURES, progress=False)
    vectors = words.encode(PICTURES, normalize=False, progress=False)
    contains = np.zeros(5)
    for own, vector in zip(descriptors, vectors, strict=True):
        near = [min(range(5), key=lambda k: ((x - words.words_[k]) ** 2).sum()) for x in own]
        contains += [k in near for k in range(5)]
        if aggregation == "vlad":
            sums = np.zeros((5, 128))
            for x, k in zip(own, near, strict=True):
                sums[k] += x - words.words_[k]
            want = np.sign(sums.ravel()) * np.sqrt(np.abs(sums.ravel()))
            want /= np.linalg.norm(want)
        else:
            want = np.sqrt([near.count(k) for k in range(5)]) * words.idf_
        assert_allclose(vector, want, atol=1e-5)
    assert_allclose(words.idf_, np.log(11 / (1 + contains)), atol=1e-6)
    assert not words.encode([BLANK], normalize=False).any()


def test_visual_words_are_saved_and_need_enough_descriptors(tmp_path):
    words = cached_fit(VisualWords(4, size=96), PICTURES)
    again = cached_fit(VisualWords(4, size=96), PICTURES)
    assert words.fingerprint == again.fingerprint
    assert_array_equal(words.encode(PICTURES[:2]), again.encode(PICTURES[:2]))
    assert VisualWords(4, size=96, seed=1).fit(PICTURES).fingerprint != words.fingerprint
    with pytest.raises(ValueError, match="have 0"):
        VisualWords(4, size=96).fit([BLANK])
    with pytest.raises(ValueError, match="fit"):
        VisualWords(4).encode(PICTURES[:1])
    with pytest.raises(ValueError, match="bag or vlad"):
        VisualWords(4, aggregation="mean")


# --- networks


def test_convnet_learns_its_training_pictures_and_comes_back_from_its_state():
    before = torch.random.get_rng_state()
    red, blue = (Image.new("RGB", (20, 20), colour) for colour in ("red", "blue"))
    items, labels = [red, blue] * 8, ["red", "blue"] * 8
    network = ConvNet(16, size=16, steps=30, seed=3).fit(items, labels)
    assert torch.equal(before, torch.random.get_rng_state())
    assert network.predict(network.encode([blue, red], normalize=False)) == ["blue", "red"]
    assert network.history_[-1] < network.history_[0]
    again = ConvNet(16, size=16, steps=30, seed=3).restore(network.state())
    assert again.fingerprint == network.fingerprint and again.classes_ == ["blue", "red"]
    assert_array_equal(again.encode(PICTURES), network.encode(PICTURES))
    assert network.n_parameters == sum(9 * a * b + 3 * b for a, b in [(3, 2), (2, 4), (4, 8), (8, 16)])


def test_convnet_refuses_what_it_cannot_learn_from():
    with pytest.raises(ValueError, match="expected 10, got 0"):
        ConvNet(8, size=16).fit(PICTURES)
    with pytest.raises(ValueError, match="two different"):
        ConvNet(8, size=16).fit(PICTURES, ["one"] * 10)
    with pytest.raises(ValueError, match="not trained"):
        ConvNet(8).encode(PICTURES[:1])


def test_efficientnet_layers_are_those_of_one_pass():
    whole = EfficientNetLite0()
    layers = split_layers(whole.every_layer(PICTURES[:3], progress=False))
    assert {name: part.shape[1] for name, part in layers.items()} == LAYERS
    assert_array_equal(layers["head"], whole.encode(PICTURES[:3], normalize=False))
    for name in ("stem", "block6", "block16"):
        encoder = EfficientNetLite0(layer=name)
        vectors = encoder.encode(PICTURES[:3], normalize=False)
        assert_array_equal(layers[name], vectors)
        maps = encoder.maps(PICTURES[:3], progress=False)
        assert_allclose(maps.mean((2, 3), dtype=np.float64), vectors, rtol=1e-4, atol=1e-5)
    assert whole.n_parameters + 1281 * 1000 == 4_652_008 - normalisation_of(whole)
    with pytest.raises(ValueError, match="block16"):
        EfficientNetLite0(layer="block17")


def normalisation_of(encoder: EfficientNetLite0) -> int:
    """Folding a batch normalisation (two numbers a channel) into its convolution leaves one, the bias."""
    convolutions = [m for m in encoder.network.modules() if isinstance(m, torch.nn.Conv2d)]
    return sum(convolution.out_channels for convolution in convolutions)


def test_the_heads_fingerprint_is_what_it_always_was():
    from xmr_lab.encoders.base import fingerprint_of
    from xmr_lab.encoders.weights import weight

    assert EfficientNetLite0().fingerprint == fingerprint_of(
        "EfficientNetLite0", 1, weight("efficientnet_lite0").sha256
    )
    assert EfficientNetLite0(layer="stem").fingerprint != EfficientNetLite0().fingerprint


def test_a_residual_network_in_the_hubs_format(tmp_path):
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetModel

    from xmr_lab.encoders.hub import TransformerImage

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # small for testing
        ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])).save_pretrained(tmp_path)
    ConvNextImageProcessorPil(size={"shortest_edge": 32}).save_pretrained(tmp_path)
    encoder = TransformerImage(tmp_path)
    vectors = encoder.encode(PICTURES[:3], normalize=False, progress=False)
    assert vectors.shape == (3, 16)
    assert_allclose(encoder.encode(PICTURES[1:2], normalize=False), vectors[1:2], atol=1e-5)
