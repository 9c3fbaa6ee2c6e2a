"""Text features: each against a slow version, a library or a closed form; the same vectors in any batch."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.encoders import (
    LSA,
    BagOfWords,
    CausalLM,
    Encoder,
    GloVe,
    MiniLM,
    StaticWords,
    Trainable,
    Word2Vec,
    cached_fit,
    load_encoder,
    stop_words,
    tokenize,
)
from xmr_lab.encoders.base import fingerprint_of
from xmr_lab.encoders.causal_lm import PAD
from xmr_lab.encoders.glove import cooccurrences, glove_loss
from xmr_lab.encoders.text import TransformerText, folder_hash, pool
from xmr_lab.encoders.weights import weight

TEXTS = [  # small for testing
    "A red apple.", "A green apple and a red rose.", "A lion.", "The lion and the red fish!", "A green fish.",
    "Two apples, two lions.", "猫 and a green dog", "A red red rose.",
]  # fmt: skip
NEW = ["A red lion.", "unknown words", "a", "Roses and fish, two green apples; the dog is red. 一只红色的猫。"]


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM()


def trainables(minilm: MiniLM) -> dict[str, Trainable]:
    return {
        "counts": BagOfWords(),
        "tfidf": BagOfWords(weighting="tfidf", tokens="character"),
        "lsa": LSA(dim=4),
        "word2vec": Word2Vec(dim=4, epochs=3),
        "glove": GloVe(dim=4, epochs=3, window=None, weighting="mean"),
        "static": StaticWords(minilm),
        "gpt": CausalLM(dim=16, layers=1, heads=2, steps=3, context=40),
        "gpt_last": CausalLM(dim=16, layers=1, heads=2, steps=3, context=40, pooling="last"),
    }


NAMES = ["counts", "tfidf", "lsa", "word2vec", "glove", "static", "gpt", "gpt_last"]


@pytest.mark.parametrize("name", NAMES)
def test_same_vectors_in_any_batch_order_and_after_restoring(name, minilm, tmp_path):
    encoder = trainables(minilm)[name]
    with pytest.raises(ValueError, match="fit"):
        encoder.encode(["a"], progress=False)
    cached_fit(encoder, TEXTS, cache_dir=tmp_path)
    assert isinstance(encoder, Encoder) and isinstance(encoder, Trainable)
    want = encoder.encode(NEW, normalize=False, progress=False)
    assert want.shape == (len(NEW), encoder.dim) and want.dtype == np.float32 and np.isfinite(want).all()
    assert_allclose(encoder.encode(NEW, batch_size=1, normalize=False, progress=False), want, atol=1e-6)
    assert_allclose(encoder.encode(NEW[::-1], batch_size=3, normalize=False, progress=False)[::-1], want, atol=1e-6)
    kept = cached_fit(trainables(minilm)[name], TEXTS, cache_dir=tmp_path)  # from the disk
    assert kept.fingerprint == encoder.fingerprint
    assert_array_equal(kept.encode(NEW, normalize=False, progress=False), want)
    again = trainables(minilm)[name].fit(TEXTS)
    assert again.fingerprint == encoder.fingerprint, "the same texts and seed must give the same"
    assert again.fit(TEXTS[:6]).fingerprint != encoder.fingerprint


def test_tokens():
    assert tokenize("Isn't it a RED_apple, Ünïcode-42?") == ["isn", "t", "it", "a", "red", "apple", "ünïcode", "42"]
    assert tokenize("一只红色的苹果。") == ["一只", "红色", "的", "苹果"]
    assert tokenize("Tux企鹅!", "character") == ["t", "u", "x", "企", "鹅"]
    assert tokenize("Лягушка — frog", stop=frozenset({"frog"})) == ["лягушка"]
    assert tokenize("?! …") == []
    assert {"fire", "two", "the"} <= stop_words() and "apple" not in stop_words()
    with pytest.raises(ValueError, match="'word' or 'character'"):
        tokenize("a", "sentence")


@pytest.mark.parametrize("weighting", ["count", "tfidf"])
def test_bag_of_words_equals_scikit_learn(weighting):
    from sklearn.feature_extraction.text import TfidfVectorizer

    encoder = BagOfWords(weighting=weighting).fit(TEXTS)
    library = TfidfVectorizer(analyzer=tokenize, use_idf=weighting == "tfidf", norm=None).fit(TEXTS)
    assert encoder.terms == library.get_feature_names_out().tolist()
    assert_allclose(encoder.encode(NEW, normalize=False), library.transform(NEW).toarray(), rtol=1e-6)
    assert not encoder.encode(["unknown words"]).any()


def test_lsa_folds_a_text_in():
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer=tokenize)
    svd = TruncatedSVD(3, algorithm="arpack", random_state=0).fit(vectorizer.fit_transform(TEXTS))
    want = svd.transform(vectorizer.transform(NEW[:1] + NEW[2:]))
    got = LSA(dim=3).fit(TEXTS).encode(NEW[:1] + NEW[2:])
    assert_allclose(np.abs(got), np.abs(want / np.linalg.norm(want, axis=1, keepdims=True)), atol=1e-5)
    with pytest.raises(ValueError, match="dim=50"):
        LSA(dim=50).fit(TEXTS)


@pytest.mark.parametrize("weighting", ["mean", "idf"])
def test_a_sentence_is_the_weighted_mean_of_its_words(weighting):
    encoder = Word2Vec(dim=5, epochs=2, weighting=weighting).fit(TEXTS)
    vectors = dict(zip(encoder.words_, encoder.vectors_, strict=True))
    texts = [set(tokenize(text)) for text in TEXTS]
    rarity = {word: np.log(9 / (1 + sum(word in text for text in texts))) + 1 for word in vectors}
    words = ["a", "red", "lion"]
    weights = [rarity[word] if weighting == "idf" else 1 for word in words]
    want = sum(weight * vectors[word] for weight, word in zip(weights, words, strict=True)) / sum(weights)
    assert_allclose(encoder.encode(["A red lion (unheard-of)."], normalize=False)[0], want, rtol=1e-5)
    assert not encoder.encode(["unheard-of"]).any()
    assert encoder.nearest("red", 3)[0] in vectors and "red" not in encoder.nearest("red", 3)
    with pytest.raises(KeyError, match="unheard"):
        encoder.nearest("unheard")


def test_what_is_learned_does_not_depend_on_the_process(minilm):
    texts = ["a red apple", "a green pear", "a red rose"]
    code = (
        "from xmr_lab.encoders import MiniLM, StaticWords, Word2Vec\n"
        f"for encoder in (Word2Vec(dim=4, epochs=2), StaticWords(MiniLM())): print(encoder.fit({texts}).fingerprint)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    here = [encoder.fit(texts).fingerprint for encoder in (Word2Vec(dim=4, epochs=2), StaticWords(minilm))]
    assert done.stdout.split() == here, done.stderr


@pytest.mark.parametrize("window", [1, 3, None])
def test_cooccurrences_against_a_double_loop(window):
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 6, size=n).tolist() for n in (1, 2, 7, 12)]
    want = np.zeros((7, 7))
    for text in texts:
        for i, a in enumerate(text):
            for j, b in enumerate(text):
                if i != j and (window is None or abs(i - j) <= window):
                    want[a, b] += 1 if window is None else 1 / abs(i - j)
    assert_allclose(cooccurrences(texts, 7, window=window).toarray(), want)
    assert cooccurrences([[0]], 2).nnz == 0


def test_glove_loss_is_the_formula_and_its_gradient():
    rng = np.random.default_rng(1)
    counts = cooccurrences([rng.integers(0, 9, size=20).tolist()], 9, window=3)
    parameters = [rng.normal(size=shape) for shape in ((9, 4), (9, 4), 9, 9)]
    got, gradients = glove_loss(counts, *parameters, x_max=2.0)
    x = counts.toarray()
    w, v, b, c = leaves = [torch.tensor(each, requires_grad=True) for each in parameters]
    loss = torch.zeros((), dtype=torch.float64)
    for i, j in zip(*np.nonzero(x), strict=True):
        weight_ = (x[i, j] / 2.0) ** 0.75 if x[i, j] < 2.0 else 1.0
        loss = loss + weight_ * (w[i] @ v[j] + b[i] + c[j] - np.log(x[i, j])) ** 2
    loss.backward()
    assert_allclose(got, loss.item())
    for ours, leaf in zip(gradients, leaves, strict=True):
        assert_allclose(ours, leaf.grad.numpy(), atol=1e-10)


def test_glove_finds_a_factorisation_where_there_is_one():
    encoder = GloVe(dim=6, epochs=400, window=None, x_max=1.0).fit(TEXTS)
    assert encoder.history_[-1] < 0.01 * encoder.history_[0]


def test_static_words_see_no_order(minilm):
    encoder = StaticWords(minilm, weighting="mean").fit(TEXTS)
    want = minilm.encode(["a", "red", "lion"], progress=False).mean(axis=0)
    assert_allclose(encoder.encode(["A red lion."], normalize=False)[0], want, atol=1e-6)
    same, order = encoder.encode(["dog bites man", "man bites dog"]), minilm.encode(["dog bites man", "man bites dog"])
    assert_allclose(same[0], same[1], atol=1e-6)
    assert order[0] @ order[1] < 0.999
    assert not encoder.encode(["?!"]).any()


@pytest.fixture(scope="module")
def gpt() -> CausalLM:
    return CausalLM(dim=16, layers=2, heads=2, steps=60, context=24, dropout=0.0).fit(["a cat.", "a hat."] * 4)


def test_a_causal_model_does_not_see_the_future(gpt):
    codes = torch.tensor([gpt._codes("a cat."), gpt._codes("a c!?!")])
    states = gpt.network_(codes)
    assert_array_equal(states[0, :4], states[1, :4])
    assert not torch.allclose(states[0, 4:], states[1, 4:])


def test_bits_are_the_cost_of_each_character(gpt):
    bits = gpt.bits(["a cat.", "a dog"])
    codes = [*gpt._codes("a cat."), PAD]
    cost = 0.0
    for here in range(1, len(codes)):
        logits = gpt.network_.guess(gpt.network_(torch.tensor([codes[:here]])))[0, -1]
        cost -= logits.log_softmax(0)[codes[here]].item() / np.log(2)
    assert_allclose(bits[0], cost / (len(codes) - 1), rtol=1e-5)
    assert bits[0] < 1 < np.log2(len(gpt.characters_)) < bits[1]  # learned; never heard of


def test_samples_are_drawn_from_the_seed_alone(gpt):
    state = torch.get_rng_state()
    drawn = gpt.sample(5, seed=3)
    assert drawn == gpt.sample(5, seed=3) != gpt.sample(5, seed=4)
    assert set(gpt.sample(20, seed=0, temperature=0.1)) <= {"a cat.", "a hat."}
    assert all(text.startswith("a h") for text in gpt.sample(3, seed=0, start="a h"))
    CausalLM(dim=4, layers=1, heads=1, steps=1).fit(["a"])
    assert_array_equal(torch.get_rng_state(), state)


def test_the_last_state_has_seen_everything(gpt):
    last = CausalLM(dim=16, layers=2, heads=2, steps=60, context=24, dropout=0.0, pooling="last")
    vector = last.restore(gpt.state()).encode(["a hat."], normalize=False)[0]
    states = gpt.network_(torch.tensor([gpt._codes("a hat.")]))[0]
    assert_allclose(vector, states[-1], atol=1e-6)
    assert_allclose(gpt.encode(["a hat."], normalize=False)[0], states[1:].mean(0), atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last"])
def test_padding_takes_no_part(pooling, minilm):
    rng = np.random.default_rng(0)
    hidden, lengths = torch.tensor(rng.normal(size=(3, 8, 5))), [2, 8, 5]
    mask = (torch.arange(8) < torch.tensor(lengths)[:, None]).long()
    slow = {
        "mean": lambda x: x.mean(0),
        "cls": lambda x: x[0],
        "max": lambda x: x.max(0).values,
        "last": lambda x: x[-1],
    }
    want = torch.stack([slow[pooling](row[:length]) for row, length in zip(hidden, lengths, strict=True)])
    assert_allclose(pool(hidden, mask, pooling), want)
    encoder = minilm if pooling == "mean" else MiniLM(pooling=pooling)
    texts = ["A lion.", "A very " + "very " * 20 + "long text.", "apple"]
    together = encoder.encode(texts, progress=False)
    for text, vector in zip(texts, together, strict=True):
        assert_allclose(encoder.encode([text], progress=False)[0], vector, atol=1e-6)


def test_the_default_pooling_keeps_its_fingerprint(minilm):
    assert minilm.fingerprint == fingerprint_of("TransformerText", 1, folder_hash(weight("minilm").path.parent), 256)
    assert MiniLM(pooling="cls").fingerprint != minilm.fingerprint
    with pytest.raises(ValueError, match="mean, cls, max, last"):
        MiniLM(pooling="first")


def test_gpt2_from_a_folder(tmp_path):
    """What ``hub:openai-community/gpt2@…`` loads once it is downloaded, tiny and untrained: no padding token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2Model, GPT2TokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False))
    tokenizer = GPT2TokenizerFast(tokenizer_object=bpe, unk_token=None, bos_token=None, eos_token=None)
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    network = GPT2Model(GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64)).eval()
    network.save_pretrained(tmp_path)
    for pooling in ("last", "mean"):
        encoder = TransformerText(tmp_path, pooling=pooling)
        assert encoder.tokenizer.pad_token_id is None
        texts = ["A lion.", "A green fish and a very red rose, and so on and on.", "猫"]
        vectors = encoder.encode(texts, normalize=False, progress=False)
        for text, vector in zip(texts, vectors, strict=True):
            with torch.inference_mode():
                states = network(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
            assert_allclose(vector, states[-1] if pooling == "last" else states.mean(0), atol=1e-5)


def test_misuse_is_explained(tmp_path, monkeypatch):
    for wrong in ({"dim": 0}, {"window": 0}, {"weighting": "sum"}, {"min_count": 0}):
        with pytest.raises(ValueError, match=r"at least 1|unknown weighting"):
            Word2Vec(**wrong)
    with pytest.raises(ValueError, match="positive"):
        GloVe(x_max=0)
    with pytest.raises(ValueError, match="nothing to learn"):
        Word2Vec(min_count=3).fit(["one two", "three"])
    with pytest.raises(ValueError, match="multiple of heads"):
        CausalLM(dim=10, heads=4)
    with pytest.raises(ValueError, match="'count' or 'tfidf'"):
        BagOfWords(weighting="binary")
    for encoder in (BagOfWords(), Word2Vec(), CausalLM()):
        with pytest.raises(ValueError, match="empty"):
            encoder.fit(["a", " "])
    monkeypatch.setenv("XMR_CACHE", str(tmp_path))
    assert load_encoder("bag_of_words", train=TEXTS).dim == len({word for text in TEXTS for word in tokenize(text)})
    with pytest.raises(ValueError, match="learns from"):
        load_encoder("glove")
