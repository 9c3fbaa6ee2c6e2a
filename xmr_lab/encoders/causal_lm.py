"""A small language model that guesses the next character from those before it: GPT in miniature, trained here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import BatchEncoder, array_digest, fingerprint_of
from .text import checked_text
from .training import from_bytes, to_bytes

__all__ = ["CausalLM"]

PAD, START, UNKNOWN = 0, 1, 2  # PAD also ends a text


class CausalLM(BatchEncoder):
    r"""A transformer whose every position sees only itself and what is before it, trained to guess the next character.

    Minimises :math:`-\sum_t \log p(c_t \mid c_1 \dots c_{t-1})` over the training texts, with an end after each.
    A text's vector is made of the last layer's states at its characters.

    Args:
        dim: width of the network.
        layers, heads: its depth, and attention heads a layer.
        context: characters it can see at most; longer texts are cut there.
        pooling: ``"mean"`` of the states, or the ``"last"`` one, the only one that has seen the whole text.
        steps, batch_size, learning_rate, dropout: of the training with AdamW and a rate that rises and falls.
        seed: of everything drawn at random.

    Attributes:
        history_: the loss of each step, in bits a character; of training, not of held-out texts.

    References:
        Radford, Narasimhan, Salimans & Sutskever (2018), Improving language understanding by generative pre-training.

    Examples:
        >>> model = CausalLM(dim=16, layers=1, heads=2, steps=20).fit(["a cat.", "a hat.", "a bat."])
        >>> model.encode(["a cat."]).shape, len(model.sample(2, seed=0))
        ((1, 16), 2)
    """

    modality = "text"

    def __init__(
        self,
        *,
        dim: int = 64,
        layers: int = 2,
        heads: int = 4,
        context: int = 64,
        pooling: Literal["mean", "last"] = "mean",
        steps: int = 200,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        dropout: float = 0.2,
        seed: int = 0,
    ) -> None:
        if pooling not in ("mean", "last"):
            raise ValueError(f"unknown pooling {pooling!r}; expected 'mean' or 'last'")
        if dim % heads or min(dim, layers, heads, context, steps, batch_size) < 1:
            raise ValueError(f"dim must be a multiple of heads, all sizes at least 1; got dim={dim}, heads={heads}")
        self.dim, self.layers, self.heads, self.context, self.pooling = dim, layers, heads, context, pooling
        self.steps, self.batch_size, self.learning_rate, self.dropout = steps, batch_size, learning_rate, dropout
        self.seed = seed

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is learned, and the vectors."""
        names = ("dim", "layers", "heads", "context", "pooling", "steps", "batch_size", "learning_rate", "dropout")
        return {"version": 1, "seed": self.seed, **{name: getattr(self, name) for name in names}}

    def fit(self, items: Sequence[str], targets: Sequence[Any] | None = None) -> CausalLM:
        """Train on texts. What is drawn at random is drawn from ``seed`` alone.

        Raises:
            ValueError: if there are no texts.
        """
        texts = [checked_text(item) for item in items]
        if not texts:
            raise ValueError("no texts to learn from")
        self.characters_ = sorted(set("".join(texts)) - {"\n"})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.network_ = self._network()
            codes = self._pad([self._codes(text) for text in texts])
            optimizer = torch.optim.AdamW(self.network_.parameters(), weight_decay=0.1)
            rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
            history = []
            for _ in range(self.steps):
                batch = codes[torch.randint(len(codes), (self.batch_size,))]
                loss, n = self._loss(batch[:, : int((batch != PAD).sum(1).max()) + 1])
                optimizer.zero_grad()
                (loss.sum() / n.sum()).backward()
                nn.utils.clip_grad_norm_(self.network_.parameters(), 1.0)
                optimizer.step()
                rate.step()
                history.append((loss.sum() / n.sum()).item() / np.log(2))
        self.history_ = np.array(history, np.float32)
        return self._ready()

    def bits(self, texts: Sequence[str]) -> np.ndarray:
        """Bits a character that each text costs under the model, its end included: (n,)."""
        self._require_fitted()
        with torch.inference_mode():
            parts = [self._loss(self._pad([self._codes(checked_text(text))])) for text in texts]
        return np.array([float(loss / n) / np.log(2) for loss, n in parts])

    def sample(self, n: int, *, seed: int, temperature: float = 0.8, start: str = "") -> list[str]:
        """``n`` texts made up by the model character by character; a low ``temperature`` keeps to what is likely."""
        self._require_fitted()
        generator = torch.Generator().manual_seed(seed)
        codes = torch.tensor([self._codes(start)]).repeat(n, 1)
        ended = torch.zeros(n, dtype=torch.bool)
        while not ended.all() and codes.shape[1] < self.context:
            logits = self.network_.guess(self.network_(codes)[:, -1]) / temperature  # (n, n_codes)
            logits[:, [START, UNKNOWN]] = -torch.inf
            drawn = torch.multinomial(logits.softmax(1), 1, generator=generator)
            drawn[ended] = PAD
            ended |= drawn[:, 0] == PAD
            codes = torch.cat([codes, drawn], dim=1)
        return ["".join(self.characters_[code - 3] for code in row if code >= 3) for row in codes.tolist()]

    def prepare(self, item: str) -> list[int]:
        self._require_fitted()
        return self._codes(checked_text(item))

    def embed(self, prepared: list[list[int]]) -> np.ndarray:
        codes = self._pad(prepared)[:, :-1]
        with torch.inference_mode():
            hidden = self.network_(codes)  # (n, length, dim); what stands after a text does not touch its states
        lengths = torch.tensor([min(len(text), self.context) for text in prepared])
        if self.pooling == "last":
            return hidden[torch.arange(len(codes)), lengths - 1].numpy()
        mask = torch.arange(codes.shape[1]) < lengths[:, None]  # (n, length)
        mask[:, 0] &= lengths == 1  # the start, the same for all texts, says nothing
        return ((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()

    @property
    def n_parameters(self) -> int:
        self._require_fitted()
        return sum(weight.numel() for weight in self.network_.parameters())

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        return fingerprint_of("CausalLM", self.settings, array_digest(self.state()))

    def state(self) -> dict[str, np.ndarray]:
        """Weights, alphabet and the course of the training; see `Trainable`."""
        self._require_fitted()
        weights = {f"network.{name}": weight.numpy() for name, weight in self.network_.state_dict().items()}
        return {**weights, "characters": to_bytes(self.characters_), "history": self.history_}

    def restore(self, state: dict[str, np.ndarray]) -> CausalLM:
        """The inverse of `state`."""
        self.characters_, self.history_ = from_bytes(state["characters"]), state["history"]
        with torch.random.fork_rng(devices=[]):
            self.network_ = self._network()
        weights = {name.removeprefix("network."): torch.from_numpy(state[name]) for name in state if "network." in name}
        self.network_.load_state_dict(weights)
        return self._ready()

    def _require_fitted(self) -> None:
        if not hasattr(self, "network_"):
            raise ValueError("CausalLM knows no characters yet. Call fit(training_texts) first.")

    def _ready(self) -> CausalLM:
        self.network_.eval().requires_grad_(False)
        self.__dict__.pop("fingerprint", None)
        return self

    def _network(self) -> Decoder:
        return Decoder(len(self.characters_) + 3, self.dim, self.layers, self.heads, self.context, self.dropout)

    def _codes(self, text: str) -> list[int]:
        known = {character: code for code, character in enumerate(self.characters_, 3)}
        return [START, *(known.get(character, UNKNOWN) for character in text)][: self.context]

    def _pad(self, texts: list[list[int]]) -> Tensor:
        """(n, longest + 1) codes, at least one PAD after each text."""
        codes = torch.full((len(texts), max(map(len, texts), default=0) + 1), PAD)
        for row, text in zip(codes, texts, strict=True):
            row[: len(text)] = torch.tensor(text)
        return codes

    def _loss(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The summed loss of each text in nats, and how many characters it was summed over: (n,) each."""
        seen, wanted = codes[:, :-1], codes[:, 1:]
        logits = self.network_.guess(self.network_(seen))  # (n, length, n_codes)
        loss = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
        counted = seen != PAD  # up to the end, which is the first PAD
        return (loss * counted).sum(1), counted.sum(1)


class Decoder(nn.Module):
    """Codes to states, (n, length) to (n, length, dim); `guess` turns states into scores of the next code."""

    def __init__(self, n_codes: int, dim: int, layers: int, heads: int, context: int, dropout: float) -> None:
        super().__init__()
        self.codes, self.places = nn.Embedding(n_codes, dim), nn.Embedding(context, dim)
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.guess = nn.Linear(dim, n_codes)

    def forward(self, codes: Tensor) -> Tensor:
        length = codes.shape[1]
        future = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)  # True is hidden
        x = self.codes(codes) + self.places(torch.arange(length))
        return self.body(x, mask=future, is_causal=True)
