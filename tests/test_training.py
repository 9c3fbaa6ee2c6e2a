"""Encoders that learn: fitted once, kept on disk, the same afterwards; encoders by name; what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from xmr_lab.encoders import (
    HOG,
    Encoder,
    MiniLM,
    SpeechEmbedding,
    TfidfText,
    Trainable,
    cached_fit,
    encoder_names,
    load_encoder,
    profile,
)
from xmr_lab.encoders.registry import EMBEDDED
from xmr_lab.encoders.training import from_bytes, to_bytes

TEXTS = ["a red apple", "a green apple", "ein Löwe"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counting(TfidfText):
    """Counts how often it is really fitted."""

    fits = 0

    def fit(self, items, targets=None):
        Counting.fits += 1
        return super().fit(items)


def test_fitted_once_and_the_same_afterwards(own_cache):
    Counting.fits = 0
    first = cached_fit(Counting(), TEXTS)
    again = cached_fit(Counting(), TEXTS)
    assert Counting.fits == 1 and again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(again.encode(TEXTS), first.encode(TEXTS))
    cached_fit(Counting(), TEXTS[:2])  # other items
    cached_fit(Counting(max_features=2), TEXTS)  # other settings
    cached_fit(Counting(), TEXTS, ["x", "y", "z"])  # other targets
    cached_fit(Counting(), TEXTS, np.eye(3))
    assert Counting.fits == 5


def test_what_is_damaged_is_learnt_again(own_cache):
    first = cached_fit(TfidfText(), TEXTS)
    (file,) = own_cache.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.warns(UserWarning, match="damaged"):
        assert cached_fit(TfidfText(), TEXTS).fingerprint == first.fingerprint


def test_without_a_cache_it_learns_all_the_same(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    fitted = cached_fit(TfidfText(), TEXTS, cache_dir=tmp_path / "file" / "cache")
    assert fitted.fingerprint == TfidfText().fit(TEXTS).fingerprint


def test_clear_errors():
    with pytest.raises(TypeError, match="settings, fit, state and restore"):
        cached_fit(HOG(), TEXTS)
    with pytest.raises(ValueError, match="one target for each item"):
        cached_fit(TfidfText(), TEXTS, ["one"])
    with pytest.raises(ValueError, match="learns from training items"):
        load_encoder("tfidf")
    with pytest.raises(ValueError, match=r"unknown audio encoder 'hog'; expected .*mfcc"):
        load_encoder("hog", modality="audio")
    with pytest.raises(ValueError, match="modality must be one of"):
        encoder_names("video")
    with pytest.raises(ValueError, match="at least one item"):
        profile(HOG(), [])


def test_words_survive_as_bytes():
    assert from_bytes(to_bytes(words := ["ä", "猫", "two words"])) == words and from_bytes(to_bytes([])) == []


def test_profile_counts_parameters_and_time():
    counts = {type(e).__name__: profile(e, TEXTS) for e in (MiniLM(), TfidfText().fit(TEXTS))}
    assert counts["MiniLM"]["dimension"] == 384 and 22e6 < counts["MiniLM"]["parameters"] < 23e6
    assert counts["TfidfText"]["parameters"] == counts["TfidfText"]["dimension"] == len(TfidfText().fit(TEXTS).terms)
    assert all(each["ms per item"] > 0 for each in counts.values())
    assert 3e5 < SpeechEmbedding().n_parameters < 2e6


@pytest.mark.parametrize("modality", ["image", "text", "audio"])
def test_each_name_gives_an_encoder_of_its_modality(modality):
    for name in encoder_names(modality):
        encoder = EMBEDDED[modality][name]()
        assert encoder.modality == modality and callable(encoder.encode), name
        if hasattr(encoder, "fit"):
            assert isinstance(encoder, Trainable), name
            with pytest.raises(ValueError, match="learns from training items"):
                load_encoder(name, modality=modality)
            with pytest.raises(ValueError, match=r"fit\("):
                encoder.state()
        else:
            assert isinstance(encoder, Encoder) and encoder.fingerprint and encoder.dim > 0, name
