"""How fast the three encoders are: against one item at a time, and against sentence-transformers.

    python benchmarks/bench_encoders.py [--quick] [--rounds N] [--out results.json]

Every contender's vectors are compared first. Pictures and sounds are decoded beforehand, so what is timed
is preprocessing and network. With --out, one file a modality: results.image.json and so on.
"""

from __future__ import annotations

from _measure import THREADS, arguments, interleave, report  # first: it sets the number of threads

# isort: split
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from efficientnet_lite_pytorch import EfficientNet

from xmr_lab.data import load_stamps
from xmr_lab.encoders import EfficientNetLite0, MiniLM, SpeechEmbedding
from xmr_lab.encoders.audio import mono_16k
from xmr_lab.encoders.image import on_white_square
from xmr_lab.encoders.weights import weight


def naive_image() -> Callable[[list], np.ndarray]:
    """The network as its package gives it, one picture at a time."""
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(weight("efficientnet_lite0").path, weights_only=True))

    @torch.inference_mode()
    def encode(items: list) -> np.ndarray:
        vectors = []
        for item in items:
            x = torch.tensor(np.array(on_white_square(item, 224))).permute(2, 0, 1)[None]
            vectors.append(network.extract_features((x.float() - 127) / 128).mean((2, 3))[0])
        return torch.stack(vectors).numpy()

    return encode


def naive_text() -> Callable[[list], np.ndarray]:
    """The model card's few lines for transformers, one text at a time."""
    from transformers import AutoModel, AutoTokenizer

    folder = weight("minilm").path.parent
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(items: list) -> np.ndarray:
        vectors = [model(**tokenizer(item, return_tensors="pt")).last_hidden_state.mean(1)[0] for item in items]
        return torch.stack(vectors).numpy()

    return encode


def naive_audio() -> Callable[[list], np.ndarray]:
    """The two networks as openWakeWord runs them, one window at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    spectrogram, embedding = (
        onnxruntime.InferenceSession(weight(name).path, options, providers=["CPUExecutionProvider"])
        for name in ("speech_melspectrogram", "speech_embedding")
    )

    def encode(items: list) -> np.ndarray:
        vectors = []
        for item in items:
            samples = mono_16k(item)
            missing = max(0, 160 * 79 - len(samples))
            samples = np.pad(samples, (missing // 2, missing - missing // 2)) * np.float32(32767)
            mel = spectrogram.run(None, {"input": samples[None]})[0][0, 0] / 10 + 2
            frames = [
                embedding.run(None, {"input_1": mel[None, start : start + 76, :, None]})[0].ravel()
                for start in range(0, len(mel) - 75, 8)
            ]
            vectors.append(np.mean(frames, axis=0))
        return np.stack(vectors)

    return encode


def sentence_transformers() -> Callable[[list], np.ndarray]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(weight("minilm").path.parent), device="cpu")
    return lambda items: model.encode(items, show_progress_bar=False)


def main() -> None:
    options = arguments(__doc__, rounds=3)
    torch.set_num_threads(THREADS)
    n = 32 if options.quick else 256
    stamps = load_stamps()
    items = {
        "image": stamps.images[:n],
        "text": stamps.texts(language="en")[: 4 * n],
        "audio": stamps.speech(language="es")[:n],
    }
    encoders = {"image": EfficientNetLite0(), "text": MiniLM(), "audio": SpeechEmbedding()}
    rivals = {
        "image": {"one at a time": naive_image()},
        "text": {"one at a time": naive_text(), "sentence-transformers": sentence_transformers()},
        "audio": {"one window at a time": naive_audio()},
    }
    for modality, encoder in encoders.items():
        data = items[modality]
        contenders = {"xmr_lab": lambda e=encoder, d=data: e.encode(d, progress=False)}
        want = unit(contenders["xmr_lab"]())
        for name, encode in rivals[modality].items():
            contenders[name] = lambda encode=encode, d=data: encode(d)
            difference = np.abs(unit(encode(data[:16])) - want[:16]).max()
            if difference > 1e-4:
                raise SystemExit(f"{modality}: {name} computes something else (differs by {difference:.1e})")
        times = interleave(contenders, options.rounds)
        out = str(Path(options.out).with_suffix(f".{modality}.json")) if options.out else None
        per_second = round(len(data) / float(np.median(times["xmr_lab"])))
        report(times, "xmr_lab", {}, out=out, modality=modality, items=len(data), items_per_second=per_second)
        print()


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
