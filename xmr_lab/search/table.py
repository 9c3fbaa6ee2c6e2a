"""A table for a terminal of any width, and for scripts of any kind."""

from __future__ import annotations

from unicodedata import combining, east_asian_width

import pandas as pd

__all__ = ["table_lines"]

GAP, NARROWEST = 2, 7


def table_lines(table: pd.DataFrame, width: int = 0) -> list[str]:
    """The table as lines of at most ``width`` places, longer cells cut; 0 cuts nothing.

    Of an ``id``, which is often a path, the end is kept. Columns without any value are left out.

    Examples:
        >>> print(*table_lines(pd.DataFrame({"id": ["cats/lion", "图1"], "score": [2.5, 1.25]}), 16), sep="\\n")
        id         score
        cats/lion   2.50
        图1         1.25
    """
    columns = {str(name): [_shown(cell) for cell in table[name]] for name in table}
    columns = {name: cells for name, cells in columns.items() if any(cells) or name == "id"}
    places = {name: max(map(_places, [name, *cells])) for name, cells in columns.items()}
    elastic = [name for name in columns if not pd.api.types.is_numeric_dtype(table[name])]
    while width and sum(places.values()) + GAP * (len(places) - 1) > width:
        wide = [name for name in elastic if places[name] > NARROWEST]
        if not wide:
            break
        places[max(wide, key=lambda name: places[name] / 2 if name == "text" else places[name])] -= 1
    rows = []
    for cells in zip(*([name, *cells] for name, cells in columns.items()), strict=True):
        shown = zip(cells, columns, strict=True)
        rows.append((" " * GAP).join(_set(cell, places[name], name, name not in elastic) for cell, name in shown))
    return [row.rstrip() for row in rows]


def _shown(cell: object) -> str:
    text = f"{cell:.2f}" if isinstance(cell, float) else str(cell)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _places(text: str) -> int:
    return sum(0 if combining(sign) else 1 + (east_asian_width(sign) in "WF") for sign in text)


def _set(cell: str, places: int, name: str, right: bool) -> str:
    if _places(cell) > places:
        while _places(cell) > places - 1:
            cell = cell[1:] if name == "id" else cell[:-1]
        cell = f"…{cell}" if name == "id" else f"{cell}…"
    space = " " * (places - _places(cell))
    return space + cell if right else cell + space
