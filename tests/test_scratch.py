"""Encoders trained from scratch: the loss, what they can learn, what they must not do."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from xmr_lab.encoders import FromScratch, Pixels
from xmr_lab.matching import info_nce

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220), "black": (0, 0, 0)}


@pytest.fixture(scope="module")
def squares():
    """Coloured squares of 16 pixels, four shades of each colour, and what they are (small for testing)."""
    rng = np.random.default_rng(0)
    shades = [(name, tuple(int(c + rng.integers(30)) for c in rgb)) for name, rgb in COLOURS.items() for _ in range(4)]
    pixels = Pixels(size=16).encode([Image.new("RGB", (20, 20), rgb) for _, rgb in shades], normalize=False)
    return pixels, [f"A {name} square." for name, _ in shades]


def test_pixels_are_the_picture():
    picture = Image.fromarray(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
    values = Pixels(size=8).encode([picture], normalize=False).reshape(3, 8, 8)
    assert_array_equal((values * 255).round().transpose(1, 2, 0), np.asarray(picture))
    with pytest.raises(ValueError, match="at least 1"):
        Pixels(size=0)


def test_learns_new_shades_of_known_words(squares):
    pixels, sentences = squares
    train, new = np.arange(16) % 4 < 3, np.arange(16) % 4 == 3
    known = [s for s, use in zip(sentences, train, strict=True) if use]
    model = FromScratch(8, steps=40, seed=1).fit(pixels[train], known, concepts=known)
    scores = model.transform(pixels[new]) @ model.transform([f"a {name}" for name in COLOURS], view=1).T
    assert_array_equal(scores.argmax(axis=1), np.arange(4))
    assert model.history_[-1] < model.history_[0] / 2


def test_the_first_loss_is_info_nce(squares):
    """With no shift and pictures that are their own mirror images, the first step sees what transform sees."""
    pixels, sentences = squares
    model = FromScratch(8, steps=2, learning_rate=1e-12, shift=0).fit(pixels, sentences, concepts=sentences)
    x, y = torch.tensor(model.transform(pixels)), torch.tensor(model.transform(sentences, view=1))
    same = torch.tensor([[a == b for a in sentences] for b in sentences])
    assert_allclose(model.history_[0], info_nce(x, y, 0.1, same).item(), rtol=1e-4)


def test_the_seed_alone_decides(squares):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b, c = (FromScratch(4, steps=3, seed=s).fit(*squares).transform(squares[0]) for s in (0, 0, 1))
    assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0.01
    assert_array_equal(before, torch.random.get_rng_state())


def test_vectors_are_of_length_1_and_unknown_words_count_for_nothing(squares):
    model = FromScratch(4, steps=2).fit(*squares)
    assert_allclose(np.linalg.norm(model.transform(squares[0]), axis=1), 1, rtol=1e-5)
    plain, longer, unknown = model.transform(["red", "red umbrella", "umbrella"], view=1)
    assert_allclose(plain, longer, atol=1e-6)
    assert_array_equal(unknown, 0)


@pytest.mark.parametrize("size", [16, 17, 24, 31, 32])
def test_any_size_of_picture(size):
    pixels = np.random.default_rng(0).random((3, 3 * size * size))
    assert FromScratch(4, steps=2).fit(pixels, ["a", "b", "c"]).transform(pixels).shape == (3, 4)


def test_bad_input(squares):
    pixels, sentences = squares
    for wrong, match in (
        ({"temperature": 0}, "temperature"),
        ({"batch_size": 1}, "batch_size"),
        ({"steps": 1}, "steps"),
    ):
        with pytest.raises(ValueError, match=match):
            FromScratch(**wrong)
    with pytest.raises(ValueError, match="two pairs at least"):
        FromScratch().fit(pixels, sentences[:3])
    with pytest.raises(ValueError, match="two pairs at least"):
        FromScratch().fit(pixels[:1], sentences[:1])
    with pytest.raises(ValueError, match="must be finite"):
        FromScratch().fit(pixels[:, :100], sentences)
    with pytest.raises(ValueError, match="must be finite"):
        FromScratch().fit(pixels * np.nan, sentences)
    with pytest.raises(ValueError, match="at least 16 pixels"):
        FromScratch().fit(np.zeros((2, 3 * 8 * 8)), ["a", "b"])
    with pytest.raises(RuntimeError, match="not fitted"):
        FromScratch().transform(pixels)
    with pytest.raises(ValueError, match="trained on pictures of 16"):
        FromScratch(4, steps=2).fit(pixels, sentences).transform(np.zeros((1, 3 * 32 * 32)))
