"""The document's two architectures over tiny untrained networks (small for testing)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hub_models import build, pictures, sounds
from numpy.testing import assert_allclose

from xmr_lab.encoders import FrameNetwork, load_encoder
from xmr_lab.encoders.unpooled import patches, tokens
from xmr_lab.matching import CrossAttention, PairClassifier
from xmr_lab.transfer import document_system

N = 8
TEXTS = ["a lion", "a red sun", "the rain", "two dogs", "a drum", "dogs in the sun", "the red drum", "rain in the sun"]
PICTURES, SOUNDS = pictures(N), sounds(N)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    root: Path = tmp_path_factory.mktemp("mirror")
    wanted = {"resnet": "image", "bert": "text", "clip": "text", "siglip2": "text", "clap": "text", "wav2vec2": "audio"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XMR_HUB_DIR", str(root))
        patch.setenv("XMR_CACHE", str(tmp_path_factory.mktemp("cache")))
        for family in wanted:
            build(family, root / "tiny" / family)
        loaded = {family: load_encoder(f"hub:tiny/{family}", modality=kind) for family, kind in wanted.items()}
        yield loaded | {"wavenet": FrameNetwork("wavenet", steps=30).fit(SOUNDS, np.eye(N, dtype="float32"))}


def test_attention_of_words_over_the_places_of_a_picture(encoders):
    resnet, bert = encoders["resnet"], encoders["bert"]
    system = document_system("resnet_bert_attention", resnet, bert, epochs=120, seed=1).fit(PICTURES, TEXTS)
    scores = system.scores(PICTURES, TEXTS)
    by_hand = CrossAttention(epochs=120, seed=1).fit(patches(resnet, PICTURES), tokens(bert, TEXTS))
    assert_allclose(scores, by_hand.scores(patches(resnet, PICTURES), tokens(bert, TEXTS)))
    assert scores.shape == (N, N) and np.mean(scores.argmax(1) == np.arange(N)) >= 0.75  # chance: 1 in 8


@pytest.mark.parametrize("ear", ["wavenet", "wav2vec2"])
def test_vectors_side_by_side_through_layers(encoders, ear):
    resnet, hears = encoders["resnet"], encoders[ear]
    system = document_system("resnet_wavenet_concatenation", resnet, hears, epochs=200, seed=1).fit(PICTURES, SOUNDS)
    scores = system.scores(PICTURES, SOUNDS)
    x, y = resnet.encode(PICTURES, progress=False), hears.encode(SOUNDS, progress=False)
    assert_allclose(scores, PairClassifier((512, 128), epochs=200, seed=1).fit(x, y).scores(x, y), atol=1e-4)
    assert scores.shape == (N, N) and np.diag(scores).mean() > scores.mean() + 1  # log odds


@pytest.mark.parametrize("family", ["clip", "siglip2", "clap"])
def test_a_text_tower_has_tokens_too(encoders, family):
    encoder = encoders[family]
    states = tokens(encoder, TEXTS, progress=False)
    assert [len(own) for own in states] == [len(ids) for ids in encoder.tokenize(TEXTS)]
    alone = tokens(encoder, TEXTS[:1], progress=False)[0]
    assert_allclose(states[0], alone, atol=2e-6)


def test_misuse_is_explained(encoders):
    resnet, bert = encoders["resnet"], encoders["bert"]
    with pytest.raises(ValueError, match=r"unknown architecture 'resnet'; expected resnet_bert_attention or"):
        document_system("resnet", resnet, bert)
    with pytest.raises(ValueError, match="joins image and text; got text and image"):
        document_system("resnet_bert_attention", bert, resnet)
    with pytest.raises(ValueError, match="joins image and audio; got image and text"):
        document_system("resnet_wavenet_concatenation", resnet, bert)
