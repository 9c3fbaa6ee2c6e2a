"""Models of the hub tier: how fast they encode, and what a step of fine-tuning costs in time and memory.

    python benchmarks/bench_hub.py [--quick] [--rounds N] [--out results.json]

Nothing is downloaded: the networks are untrained, which costs as much. On a GPU they have the sizes of ResNet-50,
ViT-B/16, BERT-base and wav2vec 2.0 base; on a CPU they are smaller ones of these kinds. What is timed is
preprocessing and network, on items of Stamps that are decoded beforehand. The rival in encoding is a model card's few
lines, one item at a time; its vectors are compared first. A step of fine-tuning is one large batch of pictures and
sentences, against the same batch in micro-batches (whose gradients are compared first) and other parts trained. With
--out, one file a table: results.resnet.json and so on.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from _measure import THREADS, arguments, interleave, peak_in_fresh_process, peak_memory, report  # noqa

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from xmr_lab.data import load_stamps
from xmr_lab.encoders import load_encoder
from xmr_lab.encoders.image import on_white_square
from xmr_lab.transfer import FineTuneSettings, TunedEncoder, TunedPair
from xmr_lab.transfer.fine_tune_pair import backward

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MODALITIES = {"resnet": "image", "vit": "image", "bert": "text", "wav2vec2": "audio"}
BATCH, MICRO = 32, 4
WHOLE = FineTuneSettings(mode="full", batch_size=BATCH, micro_batch=BATCH)
STEPS = {
    "all weights": WHOLE,
    f"all weights, {MICRO} at a time": replace(WHOLE, micro_batch=MICRO),
    "all weights, bfloat16": replace(WHOLE, precision="bfloat16"),
    "LoRA": replace(WHOLE, mode="lora"),
    "last two blocks": replace(WHOLE, mode="last"),
    "frozen": replace(WHOLE, mode="frozen"),
}


def build(family: str, folder: Path, words: list[str], quick: bool) -> None:
    """Save an untrained network of a family, as the hub has them."""
    sizes: dict[str, Any] = {}  # on a GPU the defaults, which are the base models
    if DEVICE == "cpu":
        width = {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768}
        sizes = {**width, "num_hidden_layers": 2 if quick else 6}
    torch.manual_seed(0)
    if family == "resnet":
        smaller = {"depths": [1, 1, 1, 1], "hidden_sizes": [64, 128, 256, 512]} if DEVICE == "cpu" else {}
        network = transformers.ResNetModel(transformers.ResNetConfig(**smaller))
        processor = transformers.ConvNextImageProcessorPil(size={"shortest_edge": 224})
    elif family == "vit":
        network = transformers.ViTModel(transformers.ViTConfig(**sizes), add_pooling_layer=False)
        processor = transformers.ViTImageProcessorPil()
    elif family == "bert":
        core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}, unk_token="[UNK]"))
        core.pre_tokenizer = pre_tokenizers.Whitespace()
        network = transformers.BertModel(transformers.BertConfig(vocab_size=len(words) + 2, **sizes))
        processor = transformers.PreTrainedTokenizerFast(tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]")
    else:
        smaller = {"conv_dim": (128,) * 7} if DEVICE == "cpu" else {}
        network = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes, **smaller))
        processor = transformers.Wav2Vec2FeatureExtractor()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)


def one_at_a_time(family: str, folder: Path) -> Callable[[list], np.ndarray]:
    """A model card's few lines."""
    network = transformers.AutoModel.from_pretrained(folder).eval().to(DEVICE)
    kinds = {"image": "AutoImageProcessor", "text": "AutoTokenizer", "audio": "AutoFeatureExtractor"}
    options = {"backend": "pil"} if MODALITIES[family] == "image" else {}
    processor = getattr(transformers, kinds[MODALITIES[family]]).from_pretrained(folder, **options)

    def inputs(item: Any) -> Any:
        if MODALITIES[family] == "image":
            return processor(on_white_square(item, max(item.size)), return_tensors="pt")
        if MODALITIES[family] == "text":
            return processor(item, return_tensors="pt")
        return processor(item.samples, sampling_rate=item.rate, return_tensors="pt")

    @torch.inference_mode()
    def encode(items: list) -> np.ndarray:
        vectors = []
        for item in items:
            hidden = network(**inputs(item).to(DEVICE)).last_hidden_state
            pooled = {"resnet": lambda h: h.mean((2, 3)), "vit": lambda h: h[:, 0]}.get(family, lambda h: h.mean(1))
            vectors.append(pooled(hidden)[0])
        return torch.stack(vectors).cpu().numpy()

    return encode


def prepared_pair(settings: FineTuneSettings, items: dict[str, list]) -> tuple[TunedPair, list[list[Any]]]:
    """Pictures and sentences of one batch, and what is trained on them."""
    image, text = (load_encoder(f"hub:bench/{f}", modality=MODALITIES[f], device=DEVICE) for f in ("vit", "bert"))
    pair = TunedPair(TunedEncoder(image, settings), TunedEncoder(text, settings), [])
    return pair, [[t.prepare(i) for i in items[t.modality][:BATCH]] for t in (pair.left, pair.right)]


def stepper(settings: FineTuneSettings, items: dict[str, list]) -> Callable[[], dict[str, torch.Tensor]]:
    pair, prepared = prepared_pair(settings, items)
    optimizer = torch.optim.AdamW(list(pair.weights().values()))
    same = torch.eye(BATCH, dtype=torch.bool)

    def step() -> dict[str, torch.Tensor]:
        optimizer.zero_grad()
        backward(pair, prepared, settings, same)
        gradients = {name: p.grad.clone() for name, p in pair.weights().items() if "map" in name and p.grad is not None}
        optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return gradients

    return step


def peak(run: Callable[[], Any]) -> float:
    """Bytes above what is there before: of the GPU's memory if there is one, else resident."""
    if DEVICE == "cpu":
        return peak_memory(run)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return float(torch.cuda.max_memory_allocated() - before)


def encoding(folder: Path, items: dict[str, list], options: Any, device: str) -> None:
    for family, modality in MODALITIES.items():
        data = items[modality]
        encoder = load_encoder(f"hub:bench/{family}", modality=modality, device=DEVICE)
        naive = one_at_a_time(family, folder / "bench" / family)
        contenders = {
            "xmr_lab": lambda e=encoder, d=data: e.encode(d, progress=False),
            "transformers, one at a time": lambda n=naive, d=data: n(d),
        }
        got, want = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (run()[:8] for run in contenders.values()))
        if (difference := np.abs(got - want).max()) > (1e-4 if DEVICE == "cpu" else 1e-2):
            raise SystemExit(f"{family}: the two compute something else (differ by {difference:.1e})")
        times = interleave(contenders, options.rounds)
        quick = ("--quick",) if options.quick else ()
        memory = {name: peak_in_fresh_process(__file__, f"{family}/{name}", *quick) for name in contenders}
        out = str(Path(options.out).with_suffix(f".{family}.json")) if options.out else None
        millions = sum(p.numel() for p in encoder.network.parameters()) / 1e6
        facts = {"items": len(data), "items_per_second": round(len(data) / float(np.median(times["xmr_lab"])))}
        report(
            times, "xmr_lab", memory, out=out, device=device, model=f"{family}, {millions:.1f} million weights", **facts
        )
        print()


def fine_tuning(items: dict[str, list], options: Any, device: str) -> None:
    contenders = {name: stepper(settings, items) for name, settings in STEPS.items()}
    first = {name: step() for name, step in contenders.items()}
    whole, micro = list(STEPS)[:2]
    for name, want in first[whole].items():
        if (difference := (first[micro][name] - want).abs().max()) > 1e-3 * want.abs().max():
            raise SystemExit(f"{name}: micro-batches give another gradient (differs by {difference:.1e})")
    times = interleave(contenders, options.rounds)
    quick = ("--quick",) if options.quick else ()
    memory = {name: peak_in_fresh_process(__file__, f"step/{name}", *quick) for name in STEPS}
    out = str(Path(options.out).with_suffix(".steps.json")) if options.out else None
    report(times, whole, memory, out=out, device=device, model="vit and bert", batch=f"{BATCH} pairs, one step")


def main() -> None:
    options = arguments(__doc__, rounds=3)
    torch.set_num_threads(THREADS)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    n = BATCH if options.quick else 128
    stamps = load_stamps()
    items = {
        "image": list(stamps.images[:n]),
        "text": list(stamps.texts(language="en")[: 4 * n]),
        "audio": list(stamps.speech(language="es")[:n]),
    }
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else f"CPU, {THREADS} threads"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XMR_HUB_DIR"] = folder
        words = sorted({word for text in items["text"] for word in text.split()})
        asked, _, name = (options.memory or "").partition("/")
        for family in MODALITIES:
            if asked in ("", family) or (asked == "step" and family in ("vit", "bert")):
                build(family, Path(folder) / "bench" / family, words, options.quick)
        if asked == "step":
            print(peak(stepper(STEPS[name], items)))
        elif asked:
            encoder = load_encoder(f"hub:bench/{asked}", modality=MODALITIES[asked], device=DEVICE)
            naive = one_at_a_time(asked, Path(folder) / "bench" / asked)
            run = (lambda d: encoder.encode(d, progress=False)) if name == "xmr_lab" else naive
            run(items[MODALITIES[asked]][:1])  # what the first call loads is not the items' share
            print(peak(lambda: run(items[MODALITIES[asked]])))
        else:
            encoding(Path(folder), items, options, device)
            fine_tuning(items, options, device)


if __name__ == "__main__":
    main()
