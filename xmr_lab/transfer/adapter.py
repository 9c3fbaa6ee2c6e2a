"""A small network between frozen features and the task: what the literature calls an adapter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ResidualAdapter"]


class ResidualAdapter(nn.Module):
    r"""Features plus a learned correction that passes through a bottleneck: :math:`x + U\,g(Vx)`.

    :math:`U` starts at zero, so that training starts from the features as they are. Houlsby et al. put such a
    layer into every block of a transformer, CLIP-Adapter one behind the whole network, as here: it can then be
    trained on cached features.

    Args:
        dim: width of the features.
        hidden: width of the bottleneck.
        seed: of the first weights of :math:`V`.

    References:
        Houlsby et al. (2019), arXiv:1902.00751. Gao et al. (2021), CLIP-Adapter, arXiv:2110.04544.

    Examples:
        >>> x = torch.ones(2, 8)
        >>> bool((ResidualAdapter(8, hidden=4)(x) == x).all())
        True
    """

    def __init__(self, dim: int, *, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        if dim < 1 or hidden < 1:
            raise ValueError(f"dim and hidden must be at least 1, got {dim} and {hidden}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.down, self.up = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(nn.functional.gelu(self.down(x)))
