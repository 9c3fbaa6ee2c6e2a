"""LoRA: leave a transformer's weights alone and learn a low-rank correction of some of them."""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from xmr_lab.encoders.base import fingerprint_of
from xmr_lab.encoders.text import TransformerText

__all__ = ["SentenceNetwork", "add_lora", "token_ids", "with_network"]


def add_lora(
    network: nn.Module,
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = ("query", "value"),
    seed: int = 0,
) -> Any:
    r"""A copy of a transformer in which :math:`W` becomes :math:`W + \tfrac\alpha r BA`, of which only A and B learn.

    :math:`B` starts at zero: nothing changes until training starts. ``merge_and_unload()`` of what is returned
    adds the correction to the weights for good; the network is then as fast as before.

    Args:
        network: ``MiniLM().network``, or another module with linear layers.
        rank: :math:`r`, the width of the correction.
        alpha: its scale.
        targets: the ends of the names of the layers to correct.
        seed: of A.

    Returns:
        peft's ``PeftModel``.

    Raises:
        ValueError: if no layer is called so, or rank or alpha are not positive.

    References:
        Hu et al. (2021), arXiv:2106.09685.
    """
    if rank < 1 or not alpha > 0:
        raise ValueError(f"rank must be at least 1 and alpha positive, got {rank} and {alpha}")
    linear = sorted({name.rpartition(".")[2] for name, m in network.named_modules() if isinstance(m, nn.Linear)})
    if not targets or set(targets) - set(linear):
        raise ValueError(f"no linear layer is called {list(targets)}; this network has {', '.join(linear)}")
    from peft import LoraConfig, get_peft_model  # seconds to import

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        torch.manual_seed(seed)
        return get_peft_model(copy.deepcopy(network), config)  # type: ignore[arg-type]


class SentenceNetwork(nn.Module):
    """Tokens to sentence vectors: a transformer's last states, averaged over the tokens, as `TransformerText` does.

    Args:
        network: a transformer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) token ids, filled up with 0 at the end -> (n, dim)."""
        mask = (ids != 0).long()
        if not mask.any(1).all():
            raise ValueError("a row has no tokens; expected ids as `token_ids` makes them")
        length = int(mask.sum(1).max())
        ids, mask = ids[:, :length], mask[:, :length]
        hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # (n, length, dim)
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def token_ids(encoder: TransformerText, texts: Sequence[str], *, max_tokens: int = 32) -> Tensor:
    """(n, max_tokens) token ids for `SentenceNetwork`; longer texts are cut, shorter ones filled up with 0."""
    ids = torch.zeros(len(texts), max_tokens, dtype=torch.long)
    for row, tokens in enumerate(encoder.tokenize(texts)):
        if len(tokens) > max_tokens:  # the last token marks the end
            tokens = [*tokens[: max_tokens - 1], tokens[-1]]
        ids[row, : len(tokens)] = torch.tensor(tokens)
    return ids


def with_network(encoder: TransformerText, network: nn.Module) -> TransformerText:
    """The encoder with another network, and a fingerprint of its weights, so that the cache tells them apart."""
    changed = copy.copy(encoder)
    changed.network = network.eval()
    digest = hashlib.sha256()
    for name, weight in network.state_dict().items():
        digest.update(name.encode() + weight.contiguous().cpu().numpy().tobytes())
    changed.fingerprint = fingerprint_of(encoder.fingerprint, digest.hexdigest())
    return changed
