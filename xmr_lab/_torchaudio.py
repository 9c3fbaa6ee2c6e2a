"""Lets torchaudio be imported where it was built for another CUDA than torch, or torch for none.

torchaudio declares no dependency on torch, and the Linux wheel that a package index serves links CUDA
libraries. Beside a CPU-only torch `import torchaudio` stops at `libc10_cuda.so`, and every model import
of transformers stops with it. All that needs those libraries is behind one module,
`torchaudio._extension`; where it says "no extension here", torchaudio computes in pure torch. So a
module that says so is registered in its place. Nothing on disk is touched, nothing heavy is imported.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

__all__ = ["cuda_builds", "install_stand_in"]

EXTENSION = "torchaudio._extension"


def install_stand_in() -> bool:
    """Register the stand-in if this pair of torch and torchaudio needs it and it is not too late.

    Returns:
        whether the stand-in is in place (from this call or an earlier one).
    """
    if "torchaudio" not in sys.modules and needs_stand_in(*cuda_builds()):
        sys.modules[EXTENSION] = stand_in()
    return is_stand_in(sys.modules.get(EXTENSION))


def needs_stand_in(torch_cuda: str | None, torchaudio_cuda: str | None) -> bool:
    """Whether torchaudio was built for a CUDA that this torch does not bring.

    Examples:
        >>> needs_stand_in(None, "130"), needs_stand_in("128", "130")
        (True, True)
        >>> needs_stand_in("130", "130"), needs_stand_in(None, None)
        (False, False)
    """
    return torchaudio_cuda is not None and torch_cuda != torchaudio_cuda


def cuda_builds() -> tuple[str | None, str | None]:
    """The CUDA versions torch and torchaudio were built for, such as ``(None, "130")``.

    Read from their `version.py` files as text: importing torch would take seconds.
    """
    torch = re.search(r"^cuda\b.*'(\d+)\.(\d+)", version_file("torch"), re.MULTILINE)
    torchaudio = re.search(r"^__version__ = '.*\+cu(\d+)", version_file("torchaudio"), re.MULTILINE)
    return torch and torch[1] + torch[2], torchaudio and torchaudio[1]


def version_file(package: str) -> str:
    spec = find_spec(package)
    path = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    return path.read_text(encoding="utf-8") if path and path.is_file() else ""


def stand_in() -> Any:
    """What the rest of torchaudio asks of its extension module, without the extension."""
    module: Any = module_from_spec(ModuleSpec(EXTENSION, loader=None, origin=__file__))
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module.fail_if_no_align = fail_if_no_align
    return module


def is_stand_in(module: Any) -> bool:
    return getattr(module, "fail_if_no_align", None) is fail_if_no_align


def fail_if_no_align(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates torchaudio's forced alignment, the one function that has no version in pure torch."""

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError(
            f"torchaudio's {function.__name__} needs its compiled extension, which was built for another "
            "CUDA than this torch. Install the torchaudio build that matches torch (`xmr-lab doctor`)."
        )

    return fail
