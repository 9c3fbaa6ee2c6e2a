"""Figures: one style, and no figure without alt text.

`show` puts the alt text into the output's metadata, where `notebooks.for_readers` takes it to HTML.
"""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython import get_ipython
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

__all__ = [
    "COLOURS",
    "contact_sheet",
    "curve_plot",
    "interval_plot",
    "on_grey",
    "on_white",
    "retrieval_panel",
    "show",
    "use_style",
]

# Okabe & Ito (2008), "Color universal design": told apart with any kind of colour vision. Yellow is last,
# as it is hard to see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
_GREY = "#E2E2E2"  # behind small pictures
_SHARPNESS = 1.5  # pixels saved for a pixel shown: sharp letters, and files that stay small


def use_style() -> None:
    """Set matplotlib's defaults to the style of this kit: Okabe-Ito colours, quiet axes, readable sizes."""
    mpl.rcParams.update(
        {
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.labelsize": 10.5,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.8,
            "font.size": 10.5,
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 96,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "image.cmap": "cividis",
            "image.interpolation": "antialiased",
            "legend.frameon": False,
            "lines.linewidth": 2.0,
        }
    )


def show(figure: Figure, *, alt: str, caption: str | None = None) -> None:
    """Show a figure with its alt text, and close it.

    Args:
        figure: what to show.
        alt: what a reader who does not see the figure needs to know: what is plotted, and what it shows.
        caption: a line of Markdown below the figure.

    Raises:
        ValueError: if ``alt`` is empty.

    Examples:
        >>> figure, axes = plt.subplots()
        >>> show(figure, alt="Hit rate rises with the number of pairs.")
        [Figure: Hit rate rises with the number of pairs.]
    """
    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("a figure needs alt text: say in a sentence or two what it plots and what it shows")
    text = f"[Figure: {alt}]"
    if get_ipython() is None:
        print(text)
    else:
        png, width = _encode(figure)
        metadata = {"image/png": {"alt": alt, "width": width}}
        display({"image/png": png, "text/plain": text}, metadata=metadata, raw=True)
        if caption:
            display({"text/markdown": f"*{caption}*", "text/plain": caption}, raw=True)
    plt.close(figure)


def _encode(figure: Figure) -> tuple[str, int]:
    """The figure as a small PNG (base64) of at most 128 colours, and the width at which to show it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=96 * _SHARPNESS, facecolor="white")
    picture = Image.open(buffer).convert("RGB")
    small = io.BytesIO()
    picture.quantize(128, method=Image.Quantize.MEDIANCUT).save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode(), round(picture.width / _SHARPNESS)


def on_white(picture: Image.Image) -> Image.Image:
    """The picture without transparency, on white.

    Examples:
        >>> on_white(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    return _on(picture, "white")


def on_grey(picture: Image.Image) -> Image.Image:
    """The picture without transparency, on a light grey on which pale ones, too, have an outline.

    Examples:
        >>> on_grey(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
        (226, 226, 226)
    """
    return _on(picture, _GREY)


def _on(picture: Image.Image, ground: str) -> Image.Image:
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, ground), picture).convert("RGB")


def contact_sheet(
    images: Sequence[Image.Image], *, titles: Sequence[str] | None = None, columns: int = 5, size: float = 1.4
) -> Figure:
    """Pictures in rows, on white, each with its title below.

    Args:
        images: what to show; transparent ones are put on white.
        titles: one for each; long ones are wrapped, and cut after three lines.
        columns: pictures in a row.
        size: width of a picture in inches.

    Raises:
        ValueError: if there are no images, or not one title for each.
    """
    if not images or (titles is not None and len(titles) != len(images)):
        raise ValueError(
            f"expected at least one image and a title for each, got {len(images)} images"
            f"{'' if titles is None else f' and {len(titles)} titles'}"
        )
    rows = -(-len(images) // columns)
    tallest = max(image.height / image.width for image in images)
    height = size * min(tallest, 1.2) + (0.55 if titles is not None else 0.0)
    figure, axes = plt.subplots(
        rows, columns, figsize=(size * columns, height * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat:
        axis.axis("off")
        axis.set_anchor("S")  # titles in a line, close to their pictures
    for index, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        axis.imshow(on_white(image))
        if titles is not None:
            lines = textwrap.wrap(titles[index], width=round(13 * size), max_lines=3, placeholder=" …")
            axis.annotate(
                "\n".join(lines), (0.5, 0), (0, -3), xycoords="axes fraction", textcoords="offset points",
                ha="center", va="top", fontsize=8, parse_math=False,
            )  # fmt: skip
    return figure


def retrieval_panel(
    queries: Sequence[str | Image.Image],
    results: Sequence[Sequence[str | Image.Image]],
    correct: Sequence[Sequence[bool]],
    *,
    size: float = 1.15,
) -> Figure:
    """One row a query, the best results after it, the right ones framed in blue and ticked.

    Args:
        queries: texts or pictures.
        results: for each query as many results, best first; texts or pictures.
        correct: for each result, whether it is relevant.
        size: side of a picture in inches.
    """
    columns = 1 + max(map(len, results))
    figure, axes = plt.subplots(len(queries), columns, figsize=(size * columns, size * len(queries)), squeeze=False)
    for row, query in enumerate(queries):
        _draw(axes[row, 0], query, frame="#BBBBBB")
        for axis, result, right in zip(axes[row, 1:], results[row], correct[row], strict=False):
            _draw(axis, result, frame=COLOURS[0] if right else "#EEEEEE", width=3 if right else 1)
            if right:  # a mark as well as a colour
                axis.text(0.97, 0.95, "✓", color=COLOURS[0], fontsize=11, ha="right", va="top",
                          transform=axis.transAxes)  # fmt: skip
    axes[0, 0].set_title("query", fontsize=9, loc="left")
    axes[0, 1].set_title("best results →", fontsize=9, loc="left")
    return figure


def _draw(axis: Axes, content: str | Image.Image, *, frame: str, width: float = 1.0) -> None:
    """A picture in a frame, or a text wrapped in one."""
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    if isinstance(content, str):
        text = "\n".join(textwrap.wrap(content, width=14, max_lines=6, placeholder=" …"))
        axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=7.5, transform=axis.transAxes, parse_math=False)
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.set_box_aspect(1)
    else:
        picture = on_grey(content)
        side = max(picture.size)
        square = Image.new("RGB", (side, side), _GREY)
        square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
        axis.imshow(square)
    for spine in axis.spines.values():
        spine.set(visible=True, color=frame, linewidth=width)


def interval_plot(table: pd.DataFrame, *, metric: str, by: str = "direction") -> Figure:
    """Values with their intervals, methods down, one colour for each ``by``, chance as a dashed line.

    Args:
        table: rows of `xmr_lab.evaluation.comparison`, with a column ``by``.
        metric: which of its metrics.
    """
    table = table[table["metric"] == metric]
    methods = [name for name in pd.unique(table["method"]) if name != "chance"]
    kinds = list(pd.unique(table[by]))
    figure, axis = plt.subplots(figsize=(7.0, 0.5 + 0.45 * len(methods)))
    for index, kind in enumerate(kinds):
        rows = table[table[by] == kind].set_index("method")
        places = np.arange(len(methods)) + 0.26 * (index - (len(kinds) - 1) / 2)
        shown = rows.loc[methods]
        spread = np.abs(shown[["low", "high"]].to_numpy().T - shown["value"].to_numpy())
        axis.errorbar(shown["value"], places, xerr=spread, fmt="os"[index % 2], capsize=3, label=kind)
        axis.axvline(rows.loc["chance", "value"], color=COLOURS[index], linestyle="--", linewidth=1)
    axis.set(yticks=range(len(methods)), yticklabels=methods, xlabel=metric.replace("_", " "), xlim=(0, None))
    axis.invert_yaxis()
    figure.legend(loc="outside upper right", ncols=len(kinds), fontsize=9)
    return figure


def curve_plot(
    table: pd.DataFrame,
    *,
    x: str,
    by: str,
    metric: str,
    chance: float | None = None,
    title: str = "",
    order: Sequence[str] = (),
) -> Figure:
    """One line for each ``by`` with its interval as a band, along evenly spaced values of ``x``; chance dashed.

    Args:
        table: rows of `xmr_lab.experiment.summarize`, with columns ``x``, ``by``, value, low and high.
        metric: what the values are, for the axis.
        order: all names that occur in several figures, so that each has one colour and marker in all of them; by
            default those of this table.
    """
    places = {value: place for place, value in enumerate(sorted(table[x].unique()))}
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    names = list(pd.unique(table[by]))
    for name in names:
        index = (list(order) or names).index(name) % len(COLOURS)
        rows = table[table[by] == name].sort_values(x)
        at, colour = rows[x].map(places), COLOURS[index]
        axis.plot(at, rows["value"], marker="os^Dv<>P"[index], markersize=5, label=name, color=colour)
        axis.fill_between(at, rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
    if chance is not None:
        axis.axhline(chance, color="grey", linestyle="--", linewidth=1, label="chance")
    axis.set(xticks=range(len(places)), xticklabels=list(places), xlabel=x, ylabel=metric, ylim=(0, None), title=title)
    figure.legend(loc="outside right upper", fontsize=9)
    return figure
