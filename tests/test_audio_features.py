"""Sound as frames: naive STFT, mel and cepstrum against torchaudio and scipy; loudness, noise; three networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from xmr_lab.data import Audio
from xmr_lab.encoders import (
    FrameNetwork,
    Joined,
    LogMel,
    MfccStatistics,
    cached_fit,
    denoise,
    load_encoder,
    normalize_loudness,
)
from xmr_lab.encoders.frame_networks import BODIES, WaveNet

RATE = 16_000
SMALL = {"width": 8, "steps": 3, "batch_size": 4, "crop": 20}  # small for testing


def sounds(n: int = 6) -> list[Audio]:
    rng = np.random.default_rng(0)
    return [Audio(rng.normal(size=int(RATE * (0.1 + 0.23 * i))).astype("float32") * 0.1, RATE) for i in range(n)]


GOALS = np.random.default_rng(1).normal(size=(6, 5)).astype("float32")


# ---- the naive versions that the notebook shows


def frames_of(samples: np.ndarray, window: int = 400, hop: int = 160) -> np.ndarray:
    """Windowed frames of the sound, reflected at its ends, in the middle of 512 samples: (n_frames, 512)."""
    padded = np.pad(samples, 256, mode="reflect")
    hann = np.zeros(512)
    hann[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    starts = np.arange(0, len(padded) - 511, hop)
    return np.stack([padded[start : start + 512] * hann for start in starts])


def mel_triangles(bands: int = 40, bins: int = 257) -> np.ndarray:
    """(bins, bands): triangles whose corners are evenly spaced in mel."""
    top = 2595 * np.log10(1 + 8000 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    hertz = np.linspace(0, 8000, bins)
    rise = (hertz[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - hertz[:, None]) / (corners[2:] - corners[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def test_stft_mel_and_mfcc_equal_torchaudio():
    from torchaudio.transforms import MFCC, MelSpectrogram, Spectrogram

    samples = sounds()[3].samples
    shape = {"n_fft": 512, "win_length": 400, "hop_length": 160}
    wave = torch.from_numpy(samples)
    power = np.abs(np.fft.rfft(frames_of(samples))) ** 2  # (n_frames, 257)
    assert_allclose(power.T, Spectrogram(**shape)(wave), rtol=1e-3, atol=1e-4)
    mel = power @ mel_triangles()
    assert_allclose(mel.T, MelSpectrogram(RATE, n_mels=40, **shape)(wave), rtol=1e-3, atol=1e-4)
    level = 10 * np.log10(np.maximum(mel, 1e-10))
    level = np.maximum(level, level.max() - 80)
    n, k = np.arange(40), np.arange(20)
    cosine = np.sqrt(2 / 40) * np.cos(np.pi / 40 * (n[:, None] + 0.5) * k)  # (40, 20)
    cosine[:, 0] /= np.sqrt(2)
    wanted = MFCC(RATE, n_mfcc=20, melkwargs={"n_mels": 40, **shape})(wave)
    assert_allclose((level @ cosine).T, wanted, rtol=1e-3, atol=1e-2)


def test_stft_equals_scipy():
    from scipy.signal import ShortTimeFFT

    samples = sounds()[3].samples.astype(np.float64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    window = np.pad(hann, 56)
    theirs = np.abs(ShortTimeFFT(window, hop=160, fs=RATE).stft(samples, padding="even"))
    ours = np.abs(np.fft.rfft(frames_of(samples))).T
    inside = slice(2, ours.shape[1] - 2)  # the two reflect the ends differently
    first = ShortTimeFFT(window, hop=160, fs=RATE).p_min
    assert_allclose(ours[:, inside], theirs[:, -first : -first + ours.shape[1]][:, inside], atol=1e-8)


# ---- loudness, noise, frames


@pytest.mark.parametrize("gain", [0.01, 1.0, 7.0])
def test_loudness_does_not_matter(gain):
    sound = sounds()[2]
    other = Audio(sound.samples * np.float32(gain), RATE)
    level = np.sqrt(np.mean(normalize_loudness(other).samples.astype(float) ** 2))
    assert_allclose(20 * np.log10(level), -25, atol=1e-3)
    assert_allclose(LogMel().prepare(other), LogMel().prepare(sound), atol=1e-3)


def test_silence_stays_silence():
    silence = Audio(np.zeros(RATE, np.float32), RATE)
    for made in (normalize_loudness(silence), denoise(silence)):
        assert_array_equal(made.samples, silence.samples)
    assert np.isfinite(LogMel().encode([silence], progress=False)).all()
    assert np.isfinite(MfccStatistics().encode([silence], progress=False)).all()


def test_denoising_raises_the_signal_to_noise_ratio():
    rng, time = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    tone = np.where(time > 1, np.sin(2 * np.pi * 440 * time), 0).astype("float32") * 0.2
    noise = rng.normal(size=len(tone)).astype("float32") * 0.05
    noisy = Audio(tone + noise, RATE)

    def ratio(sound):
        return 10 * np.log10(np.mean(tone**2) / np.mean((sound.samples - tone) ** 2))

    for cleaned in (denoise(noisy), denoise(noisy, noise=Audio(noise[:RATE], RATE))):
        assert cleaned.samples.shape == tone.shape
        assert ratio(cleaned) > ratio(noisy) + 6
    with pytest.raises(ValueError, match="depth"):
        denoise(noisy, depth=0)


@pytest.mark.parametrize("n", [400, 511, 512, 513, 1000, 16_001])
def test_denoising_keeps_the_length(n):
    sound = Audio(sounds()[5].samples[:n], RATE)
    assert len(denoise(sound).samples) == len(denoise(sound, noise=sounds()[0]).samples) == n


def test_an_open_gate_changes_nothing():
    sound = sounds()[3]
    assert_allclose(denoise(sound, threshold=-200).samples, sound.samples, atol=1e-6)


def test_frames_and_their_mean():
    mel, items = LogMel(hop=320), sounds()
    frames = mel.frames(items, progress=False)
    assert [each.shape for each in frames] == [(1 + len(item.samples) // 320, 40) for item in items]
    means = mel.encode(items, normalize=False, progress=False)
    assert_allclose(means, [each.mean(axis=0) for each in frames], atol=1e-6)
    with pytest.raises(ValueError, match="bands"):
        LogMel(bands=0)


# ---- networks


def test_wavenet_is_causal_and_sees_as_far_as_it_says():
    torch.manual_seed(0)
    network = WaveNet(4, 8, layers=4).double()
    x = torch.randn(1, 4, 50, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 20] += 1
    moved = (network(x) - network(changed)).abs().amax(dim=(0, 1)) > 0  # which hidden frames changed
    assert network.receptive_field == 16
    assert not moved[:20].any() and moved[20] and not moved[20 + 16 :].any() and moved[20 + 15]


def test_wavenet_equals_its_formula():
    """One layer, frame by frame, with loops."""
    torch.manual_seed(0)
    network = WaveNet(3, 5, layers=2).double()
    x = torch.randn(1, 3, 7, dtype=torch.float64)
    weights = {name: weight.detach().numpy() for name, weight in network.state_dict().items()}

    def dense(name, v):
        return weights[f"{name}.weight"][:, :, 0] @ v + weights[f"{name}.bias"]

    now = [dense("start", x[0, :, t].numpy()) for t in range(7)]
    total = np.zeros((7, 5))
    for layer, dilation in enumerate((1, 2)):
        kernel, bias = weights[f"gates.{layer}.weight"], weights[f"gates.{layer}.bias"]
        following = []
        for t in range(7):
            before = now[t - dilation] if t >= dilation else np.zeros(5)
            both = kernel[:, :, 0] @ before + kernel[:, :, 1] @ now[t] + bias
            z = np.tanh(both[:5]) / (1 + np.exp(-both[5:]))
            total[t] += dense(f"skips.{layer}", z)
            following.append(now[t] + dense(f"residuals.{layer}", z) if layer < 1 else now[t])
        now = following
    assert_allclose(network(x)[0].detach().numpy().T, np.maximum(total, 0), atol=1e-12)


def test_rnn_is_causal_and_cnn_is_not():
    x = torch.randn(1, 6, 30, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, :, 20] += 1
    for name, causal in (("rnn", True), ("cnn", False)):
        torch.manual_seed(0)
        body, mask = BODIES[name](6, 8), torch.ones(1, 1, 30)
        before = (body(x, mask) - body(changed, mask))[:, :, :20].abs().max()
        assert (before == 0) == causal


@pytest.mark.parametrize("architecture", list(BODIES))
def test_vectors_depend_on_the_sound_alone(architecture):
    items = sounds()
    network = FrameNetwork(architecture, **SMALL).fit(items, GOALS)
    vectors = network.encode(items, progress=False)
    assert vectors.shape == (6, 8) and np.isfinite(vectors).all()
    assert_array_equal(network.encode(items, progress=False), vectors)
    assert_allclose(network.encode(items, batch_size=1, progress=False), vectors, atol=1e-6)
    assert_allclose(network.encode(items[::-1], batch_size=4, progress=False)[::-1], vectors, atol=1e-6)


@pytest.mark.parametrize("architecture", list(BODIES))
def test_training_is_kept_repeatable_and_leaves_torch_alone(architecture, tmp_path):
    items, state = sounds(), torch.random.get_rng_state()
    network = cached_fit(FrameNetwork(architecture, **SMALL), items, GOALS, cache_dir=tmp_path)
    assert_array_equal(torch.random.get_rng_state(), state)
    again = cached_fit(FrameNetwork(architecture, **SMALL), items, GOALS, cache_dir=tmp_path)
    fresh = FrameNetwork(architecture, **SMALL).fit(items, GOALS)
    other = FrameNetwork(architecture, seed=1, **SMALL).fit(items, GOALS)
    assert network.fingerprint == again.fingerprint == fresh.fingerprint != other.fingerprint
    assert_array_equal(again.encode(items, progress=False), fresh.encode(items, progress=False))
    assert not hasattr(again, "history_") and len(fresh.history_) == 3


def test_frames_may_stand_for_sounds():
    """So that many networks can share them; the result is the same."""
    items = sounds()
    network = FrameNetwork(**SMALL)
    frames = network.mel.frames(items, progress=False)
    by_frames = FrameNetwork(**SMALL).fit(frames, GOALS)
    assert network.fit(items, GOALS).fingerprint == by_frames.fingerprint
    assert_array_equal(network.encode(frames, progress=False), network.encode(items, progress=False))
    with pytest.raises(ValueError, match="40 bands"):
        network.encode([np.zeros((5, 7), np.float32)], progress=False)


def test_a_network_learns_what_can_be_learnt():
    """Three tones, three targets."""
    time = np.arange(RATE // 2) / RATE
    rng = np.random.default_rng(0)
    pitches = [200, 800, 3000] * 8
    items = [
        Audio((np.sin(2 * np.pi * f * time) + 0.1 * rng.normal(size=len(time))).astype("float32"), RATE)
        for f in pitches
    ]
    goals = np.eye(3, dtype="float32")[[0, 1, 2] * 8]
    for architecture in BODIES:
        network = FrameNetwork(architecture, **(SMALL | {"steps": 40, "batch_size": 12})).fit(items, goals)
        vectors = network.encode(items, progress=False)
        nearest = (vectors @ vectors.T - 2 * np.eye(24)).argmax(axis=1)
        assert (nearest % 3 == np.arange(24) % 3).all()
        assert network.history_[-1] < network.history_[0]


def test_no_training_at_all_leaves_it_random():
    network = FrameNetwork(**(SMALL | {"steps": 0})).fit(sounds(), GOALS)
    assert network.encode(sounds(), progress=False).std() > 0


def test_errors_say_what_to_do():
    items = sounds()
    with pytest.raises(ValueError, match="cnn, rnn, wavenet"):
        FrameNetwork("lstm")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps"):
        FrameNetwork(steps=-1)
    with pytest.raises(ValueError, match="Call fit"):
        FrameNetwork().encode(items, progress=False)
    with pytest.raises(ValueError, match="vectors of their captions"):
        FrameNetwork().fit(items)
    for goals in (GOALS[:3], GOALS[:, 0], np.full_like(GOALS, np.nan)):
        with pytest.raises(ValueError, match="finite targets"):
            FrameNetwork(**SMALL).fit(items, goals)


def test_by_name():
    network = load_encoder("audio_rnn", train=sounds(2), targets=GOALS[:2])
    assert network.modality == "audio" and network.encode(sounds(1), progress=False).shape == (1, network.dim)
    assert load_encoder("log_mel").encode(sounds(1), progress=False).shape == (1, 40)
    with pytest.raises(ValueError, match="train"):
        load_encoder("audio_cnn")


def test_joined_views():
    items = sounds()
    both, other = Joined([items[:2], items[2:]]), Joined([items[2:], items[:2]])
    assert [id(item) for item in both] == [id(item) for item in items]
    assert both.fingerprint != other.fingerprint
    with pytest.raises(IndexError):
        both[6]


def test_wav2vec2_from_a_folder(tmp_path):
    """The hub tier's path, with a tiny untrained wav2vec 2.0 saved as the hub saves it (small for testing)."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    from xmr_lab.encoders.hub import TransformerAudio

    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    groups = {"num_conv_pos_embedding_groups": 2, "num_conv_pos_embeddings": 4}
    Wav2Vec2Model(Wav2Vec2Config(**tiny, **groups, conv_dim=(8,) * 7)).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    encoder, items = TransformerAudio(tmp_path), sounds()
    vectors = encoder.encode(items, progress=False)
    assert vectors.shape == (6, 16)
    assert_allclose(encoder.encode(items[::-1], batch_size=1, progress=False)[::-1], vectors, atol=1e-6)
    louder = [Audio(item.samples * np.float32(3), RATE) for item in items]
    assert_allclose(encoder.encode(louder, progress=False), vectors, atol=1e-4)  # its preprocessor normalises
    frames = encoder.frames(items, progress=False)
    assert [len(each) for each in frames] == [(len(item.samples) - 80) // 320 for item in items]  # one each 20 ms
    means = encoder.encode(items, normalize=False, progress=False)
    assert_allclose(means, [each.mean(axis=0) for each in frames], atol=1e-6)
