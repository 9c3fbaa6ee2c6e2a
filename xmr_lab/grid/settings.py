"""A grid as it is written down: a TOML file, read strictly, and the cells that it means."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .methods import METHODS, PAIRS, TRANSFERS

__all__ = ["Block", "Cell", "Grid", "read_grid"]


@dataclass(frozen=True, order=True)
class Cell:
    """One method, fitted once: budget 0 needs no pairs, -1 takes all that there are."""

    pair: str
    method: str
    transfer: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Block:
    """Cells that share their axes; ``baseline`` is the ``"method/transfer"`` that the others are compared with."""

    pairs: tuple[str, ...]
    methods: tuple[str, ...]
    transfers: tuple[str, ...]
    budgets: tuple[int, ...]
    baseline: str


@dataclass(frozen=True)
class Grid:
    """An experiment: blocks of cells, the number of paired seeds, the split that is judged, the language of speech.

    ``collection`` is the folder of a collection of one's own, ``""`` means Stamps; ``skip_broken`` leaves out those of
    its files that cannot be read. ``headline`` names the systems, as ``"method/transfer"``, of the Markdown table.
    """

    name: str
    blocks: tuple[Block, ...]
    seeds: int = 10
    judged: str = "test"
    language: str = "es"
    collection: str = ""
    skip_broken: bool = False
    headline: tuple[str, ...] = ()

    @property
    def config_hash(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def baselines(self) -> dict[str, str]:
        """``"method/transfer"`` by pair."""
        return {pair: block.baseline for block in self.blocks for pair in block.pairs}

    def cells(self) -> list[Cell]:
        """All cells in order, chance first; what does not apply to a pair is left out.

        With all pairs nothing is left unpaired, and for a method that draws nothing the seeds differ in nothing: the
        first would repeat ``frozen``, and is left out; the second is run once, with seed 0.
        """
        found = {Cell(pair, "chance", "none", 0, 0): None for block in self.blocks for pair in block.pairs}
        for block in self.blocks:
            for pair in block.pairs:
                for name in block.methods:
                    method = METHODS[name]
                    if pair not in method.pairs:
                        continue
                    if method.transfers[0] == "none":
                        found[Cell(pair, name, "none", 0, 0)] = None
                        continue
                    for transfer in block.transfers:
                        if transfer not in method.transfers or (transfer == "names" and pair != "image-text"):
                            continue
                        for budget in block.budgets:
                            if transfer == "unpaired" and budget < 0:
                                continue
                            seeds = self.seeds if budget > 0 or method.drawn else 1
                            found.update({Cell(pair, name, transfer, budget, s): None for s in range(seeds)})
        return list(found)


def read_grid(path: Path | str) -> Grid:
    """Read a grid from a TOML file (see ``experiments/headline.toml``).

    Raises:
        ValueError: for what is no TOML, an unknown key or name (with the nearest ones that exist), a wrong type.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as TOML: {error}") from None
    keys = [*(field.name for field in fields(Grid) if field.name != "blocks"), "block"]
    _known(path, "key", list(given), keys)
    blocks = given.get("block")
    if not isinstance(blocks, list) or not blocks or not all(isinstance(block, dict) for block in blocks):
        raise ValueError(f"{path}: expected one [[block]] at least, with pairs, methods, transfers, budgets, baseline")
    grid = Grid(
        name=_text(path, given, "name", path.stem),
        blocks=tuple(_block(path, block) for block in blocks),
        seeds=_count(path, "seeds", given.get("seeds", 10)),
        judged=_text(path, given, "judged", "test"),
        language=_text(path, given, "language", "es"),
        collection=_folder(path, _text(path, given, "collection", "")),
        skip_broken=_flag(path, given, "skip_broken"),
        headline=tuple(_texts(path, "headline", given["headline"])) if "headline" in given else (),
    )
    known = {f"{name}/{transfer}" for name in METHODS for transfer in METHODS[name].transfers}
    _known(path, "headline", list(grid.headline), sorted(known))
    _known(path, "judged", [grid.judged], ["validation", "test"])
    if not grid.name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"{path}: name must be made of letters, digits, - and _, got {grid.name!r}")
    run = {(cell.pair, f"{cell.method}/{cell.transfer}") for cell in grid.cells()}
    for block in grid.blocks:
        for pair in block.pairs:
            if block.baseline != grid.baselines[pair]:
                raise ValueError(f"{path}: {pair} has two baselines, {block.baseline} and {grid.baselines[pair]}")
            if (pair, block.baseline) not in run:
                raise ValueError(f"{path}: no block runs {block.baseline}, the baseline of {pair}")
        for method in block.methods:
            if not any(name.startswith(f"{method}/") and pair in block.pairs for pair, name in run):
                raise ValueError(
                    f"{path}: a block has no cell of {method!r}: it is for {', '.join(METHODS[method].pairs)}, "
                    f"as {' or '.join(METHODS[method].transfers)} (unpaired: where a budget leaves items over)"
                )
    return grid


def _block(path: Path, given: dict[str, Any]) -> Block:
    keys = ["pairs", "methods", "transfers", "budgets", "baseline"]
    _known(path, "key", list(given), keys)
    if missing := [key for key in keys if key not in given]:
        raise ValueError(f"{path}: a [[block]] lacks {', '.join(missing)}")
    names = {key: _texts(path, key, given[key]) for key in keys[:3]}
    for key, known in (("pairs", PAIRS), ("methods", METHODS), ("transfers", TRANSFERS)):
        _known(path, key, names[key], list(known))
    budgets = given["budgets"]
    if not isinstance(budgets, list) or not budgets:
        raise ValueError(f'{path}: budgets must be a list such as [20, 50, "all"], got {budgets!r}')
    counts = tuple(-1 if budget == "all" else _count(path, "budgets", budget, least=5) for budget in budgets)
    baseline = _text(path, given, "baseline", "")
    method, _, transfer = baseline.partition("/")
    _known(path, "baseline: method", [method], names["methods"])
    _known(path, "baseline: transfer", [transfer], list(METHODS[method].transfers))
    pairs, methods, transfers = (tuple(names[key]) for key in keys[:3])
    return Block(pairs, methods, transfers, counts, baseline)


def _known(path: Path, what: str, given: list[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=2)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
            raise ValueError(f"{path}: {what} {name!r} is unknown{hint} There are: {', '.join(known)}")


def _text(path: Path, given: dict[str, Any], key: str, default: str) -> str:
    value = given.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{path}: {key} must be a text, got {value!r}")
    return value


def _folder(path: Path, given: str) -> str:
    """The folder, seen from where the grid lies; ``""`` stays so."""
    if given and not (path.parent / given).is_dir():
        raise ValueError(f"{path}: collection {given!r} is no folder; it is looked for from {path.parent.resolve()}")
    return str((path.parent / given).resolve()) if given else ""


def _flag(path: Path, given: dict[str, Any], key: str) -> bool:
    value = given.get(key, False)
    if not isinstance(value, bool):
        raise ValueError(f"{path}: {key} must be true or false, got {value!r}")
    return value


def _texts(path: Path, key: str, value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{path}: {key} must be a list of texts, at least one, got {value!r}")
    return value


def _count(path: Path, key: str, value: object, *, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        every = ' or "all"' if key == "budgets" else ""
        raise ValueError(f"{path}: {key} must hold whole numbers of {least} or more{every}, got {value!r}")
    return value
