"""The one progress bar of the kit."""

from __future__ import annotations

import os

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


def progress_bar(total: int, label: str, progress: bool, unit: str = "item") -> tqdm:
    """A bar that appears after one second, and never if the environment says ``XMR_PROGRESS=0``."""
    off = not progress or os.environ.get("XMR_PROGRESS") == "0"
    return tqdm(total=total, desc=label, unit=unit, delay=1, leave=False, disable=off)
