"""Figures have alt text, are closed when shown, and tell colours apart."""

from __future__ import annotations

import base64
import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from xmr_lab import plots


@pytest.fixture
def shown(monkeypatch) -> list:
    """What a notebook would be given to display."""
    found: list = []
    monkeypatch.setattr(plots, "get_ipython", lambda: object())
    monkeypatch.setattr(plots, "display", lambda data, **options: found.append((data, options.get("metadata", {}))))
    return found


def test_show_puts_alt_text_in_the_metadata_and_closes_the_figure(shown):
    figure, _ = plt.subplots(figsize=(4, 2))
    plots.show(figure, alt="  Two lines\n that cross. ", caption="Crossing")
    (data, metadata), (caption, _) = shown
    assert metadata["image/png"] == {"alt": "Two lines that cross.", "width": 384}
    assert data["text/plain"] == "[Figure: Two lines that cross.]" and caption["text/markdown"] == "*Crossing*"
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size == (576, 288)
    assert not plt.fignum_exists(figure.number)


def test_the_same_figure_gives_the_same_bytes(shown):
    for _ in range(2):
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
        plots.show(figure, alt="A line.")
    assert shown[0] == shown[1]


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_a_figure_without_alt_text_is_refused(alt):
    figure, _ = plt.subplots()
    with pytest.raises(ValueError, match="alt text"):
        plots.show(figure, alt=alt)
    plt.close(figure)


def test_colours_differ_for_every_kind_of_colour_vision():
    """Under full protanopia, deuteranopia and tritanopia (Machado et al. 2009, doi:10.1109/TVCG.2009.113)."""
    colours = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in plots.COLOURS])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    kinds = {
        "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                       [-0.003882, -0.048116, 1.051998]],
        "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                         [-0.011820, 0.042940, 0.968881]],
        "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                       [0.004733, 0.691367, 0.303900]],
    }  # fmt: skip
    for kind, matrix in kinds.items():
        seen = (linear @ np.array(matrix).T).clip(0, 1) ** (1 / 2.2)
        apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1) + 9 * np.eye(len(seen))
        assert apart.min() > 0.1, (kind, np.unravel_index(apart.argmin(), apart.shape))


def test_use_style_sets_the_colours():
    with plt.rc_context():
        plots.use_style()
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(plots.COLOURS)


def test_contact_sheet_shows_every_picture_on_white():
    images = [Image.new("RGBA", (30, 20), (255, 0, 0, alpha)) for alpha in (0, 128, 255)]
    figure = plots.contact_sheet(images, titles=["one", "two", "three " * 30], columns=2)
    drawn = [axis.images[0].get_array()[0, 0].tolist() for axis in figure.axes if axis.images]
    assert drawn == [[255, 255, 255], [255, 127, 127], [255, 0, 0]]
    assert len(figure.axes) == 4
    assert max(text.get_text().count("\n") for axis in figure.axes for text in axis.texts) == 2
    plt.close(figure)


@pytest.mark.parametrize(("images", "titles"), [([], None), ([Image.new("L", (2, 2))], ["a", "b"])])
def test_contact_sheet_needs_pictures_and_a_title_for_each(images, titles):
    with pytest.raises(ValueError, match="at least one image and a title for each"):
        plots.contact_sheet(images, titles=titles)


def test_dollars_in_captions_are_dollars():
    picture = Image.new("RGB", (4, 4))
    text = r"from $\nothing$ to $_$"  # as a formula it would not parse
    figures = [
        plots.contact_sheet([picture], titles=[text]),
        plots.retrieval_panel([text], [[text, picture]], [[True, False]]),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO())
        plt.close(figure)


def test_interval_plot_shows_each_method_with_its_interval_and_chance():
    rows = [("chance", 0.1, np.nan, np.nan), ("ours", 0.5, 0.4, 0.6), ("theirs", 0.3, 0.2, 0.45)]
    table = pd.DataFrame(rows, columns=["method", "value", "low", "high"]).assign(metric="hit_rate@10", direction="a")
    (axis,) = plots.interval_plot(table, metric="hit_rate@10").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["ours", "theirs"]
    lines = [tuple(line.get_xdata()) for line in axis.lines]
    assert (0.5, 0.3) in lines and (0.1, 0.1) in lines


def test_retrieval_panel_ticks_what_is_right():
    figure = plots.retrieval_panel(["a cat"], [[Image.new("RGBA", (4, 8)), "no picture"]], [[True, False]])
    marks = [[text.get_text() for text in axis.texts if text.get_text() == "✓"] for axis in figure.axes]
    assert marks == [[], ["✓"], []]
