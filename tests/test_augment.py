"""Augmentation: nothing but what was promised changes, `rng` decides all of it, and mixup equals its closed form."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from xmr_lab.matching import RidgeMap
from xmr_lab.transfer import augment_image, drop_words, mixup, spec_augment


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def picture(rng):
    """Noise with a transparent left half (small for testing)."""
    pixels = rng.integers(0, 256, size=(30, 40, 4), dtype=np.uint8)
    pixels[:, :20, 3], pixels[:, 20:, 3] = 0, 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_picture_keeps_size_and_mode_and_the_original_stays(picture, mode):
    picture = picture.convert(mode)
    before = np.array(picture)
    new = augment_image(picture, rng=np.random.default_rng(1))
    assert (new.size, new.mode) == (picture.size, mode)
    assert_array_equal(np.array(picture), before)
    assert not np.array_equal(np.array(new), before)


def test_rng_alone_decides_about_a_picture(picture):
    a, b, c = (np.array(augment_image(picture, rng=np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_without_crop_flip_and_jitter_a_picture_stays(picture, rng):
    assert_array_equal(np.array(augment_image(picture, rng=rng, crop=1, flip=0, jitter=0)), np.array(picture))


def test_flip_mirrors_and_jitter_leaves_transparency_alone(picture, rng):
    flipped = np.array(augment_image(picture, rng=rng, crop=1, flip=1, jitter=0))
    assert_array_equal(flipped, np.array(picture)[:, ::-1])
    jittered = np.array(augment_image(picture, rng=rng, crop=1, flip=0, jitter=0.9))
    assert_array_equal(jittered[..., 3], np.array(picture)[..., 3])


def test_a_crop_keeps_the_stated_share_of_the_area(rng):
    """Columns of a gradient say which part was kept."""
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 3)))
    for _ in range(20):
        row = np.array(augment_image(ramp, rng=rng, crop=0.25, flip=0, jitter=0))[100, :, 0].astype(int)
        assert 0.5 - 0.03 <= (row.max() - row.min() + 1) / 200 <= 1


@pytest.mark.parametrize("wrong", [{"crop": 0}, {"crop": 1.1}, {"flip": -0.1}, {"jitter": 1}])
def test_pictures_refuse_arguments_out_of_range(picture, rng, wrong):
    with pytest.raises(ValueError, match="need 0 < crop"):
        augment_image(picture, rng=rng, **wrong)


def test_a_palette_picture_is_refused_with_a_remedy(picture, rng):
    with pytest.raises(ValueError, match="convert"):
        augment_image(picture.convert("RGB").quantize(8), rng=rng)


def test_words_drop_at_the_stated_rate_in_their_order(rng):
    text = " ".join(f"w{i}" for i in range(2000))
    words = drop_words(text, rng=rng, rate=0.3).split()
    assert 0.66 < len(words) / 2000 < 0.74
    numbers = [int(word[1:]) for word in words]
    assert numbers == sorted(numbers)


def test_one_word_always_stays(rng):
    assert all(drop_words("a cat", rng=rng, rate=0.99) in ("a", "cat", "a cat") for _ in range(50))
    assert drop_words("A cat.", rng=rng, rate=0) == "A cat."


@pytest.mark.parametrize(("text", "rate"), [("", 0.1), ("  ", 0.1), ("a cat", 1), ("a cat", -0.1)])
def test_words_refuse_nothing_and_too_much(rng, text, rate):
    with pytest.raises(ValueError, match=r"no word|rate must"):
        drop_words(text, rng=rng, rate=rate)


def test_spec_augment_masks_the_stated_share_with_the_mean(rng):
    frames = rng.normal(size=(100, 7)).astype(np.float32)
    shares = []
    for _ in range(300):
        new = spec_augment(frames, rng=rng, time=0.4, masks=1)
        masked = (new != frames).any(axis=1)
        assert_allclose(new[masked], np.broadcast_to(frames.mean(axis=0), new[masked].shape))
        assert len(np.flatnonzero(np.diff(masked))) <= 2  # one block
        shares.append(masked.mean())
    assert max(shares) <= 0.4
    assert_allclose(np.mean(shares), 0.2, atol=0.03)  # the mean of U(0, 0.4)


def test_spec_augment_masks_channels_too_and_leaves_its_input(rng):
    frames = rng.normal(size=(5, 200))
    before = frames.copy()
    new = spec_augment(frames, rng=rng, time=0, frequency=0.5, masks=3)
    masked = (new != frames).all(axis=0)
    assert masked.any() and ((new == frames).all(axis=0) | masked).all()
    assert_array_equal(frames, before)
    assert new.dtype == frames.dtype and new.shape == frames.shape


def test_spec_augment_is_decided_by_rng_and_can_do_nothing(rng):
    frames = rng.normal(size=(20, 3))
    a, b = (spec_augment(frames, rng=np.random.default_rng(1)) for _ in range(2))
    assert_array_equal(a, b)
    assert_array_equal(spec_augment(frames, rng=rng, masks=0), frames)
    assert_array_equal(spec_augment(frames[:1], rng=rng, time=1), frames[:1])  # its own mean


@pytest.mark.parametrize("frames", [np.empty((0, 3)), np.ones(3), np.full((2, 2), np.nan)])
def test_spec_augment_refuses_bad_frames(rng, frames):
    with pytest.raises(ValueError, match="frames must be finite"):
        spec_augment(frames, rng=rng)
    with pytest.raises(ValueError, match="shares in"):
        spec_augment(np.ones((3, 3)), rng=rng, time=1.5)


def test_mixup_mixes_both_sides_by_the_same_share(rng):
    """On pairs with y = x, the mixed pairs have y = x too, and lie between two of the old ones."""
    x = rng.normal(size=(6, 3))
    new_x, new_y = mixup(x, x, rng=rng, alpha=1, n=500)
    assert_array_equal(new_x, new_y)
    assert len(new_x) == 500
    assert (new_x >= x.min(axis=0) - 1e-12).all() and (new_x <= x.max(axis=0) + 1e-12).all()


def test_mixup_follows_the_beta_distribution(rng):
    """Two pairs at 0 and 1: where they are mixed, the share itself shows; its variance is 1 / (4 (2 alpha + 1))."""
    x = np.array([[0.0], [1.0]])
    share = mixup(x, x, rng=rng, alpha=2, n=40_000)[0][:, 0]
    between = share[(share > 0) & (share < 1)]
    assert_allclose([between.mean(), between.var()], [0.5, 1 / 20], atol=0.005)


def test_mixup_of_least_squares_is_a_change_of_penalty(rng):
    """In expectation, a ridge map on mixed pairs is the ridge map with a penalty (2a + 1) / (a + 1) times as large."""
    x = rng.normal(size=(40, 5))
    y = x @ rng.normal(size=(5, 2)) + rng.normal(size=(40, 2))
    a = 0.5
    want = RidgeMap(0.3 * (2 * a + 1) / (a + 1)).fit(x, y).weights_
    got = RidgeMap(0.3).fit(*mixup(x, y, rng=rng, alpha=a, n=400_000)).weights_
    assert_allclose(got, want, atol=0.01)
    assert np.abs(RidgeMap(0.3).fit(x, y).weights_ - want).max() > 0.02  # the test could have failed


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.ones((3, 2)), np.ones((2, 2)), {}, "paired row by row"),
        (np.ones((0, 2)), np.ones((0, 2)), {}, "paired row by row"),
        (np.full((2, 2), np.nan), np.ones((2, 2)), {}, "NaN"),
        (np.ones((2, 2)), np.ones((2, 2)), {"alpha": 0}, "alpha > 0"),
        (np.ones((2, 2)), np.ones((2, 2)), {"n": 0}, "n >= 1"),
    ],
)
def test_mixup_refuses_bad_pairs(rng, x, y, options, message):
    with pytest.raises(ValueError, match=message):
        mixup(x, y, rng=rng, **options)
