"""What was found, to look at and listen to: a contact sheet, and a page that needs no other file."""

from __future__ import annotations

import html
import io
import warnings
from collections.abc import Sequence
from contextlib import suppress
from textwrap import shorten

import pandas as pd
from PIL import Image, ImageOps

from xmr_lab.data import Audio, Collection, Item
from xmr_lab.data.image import image_html

from .searcher import Found, Query

__all__ = ["CARDS", "contact_sheet_bytes", "page", "query_words", "results_html"]

PLAYERS = 2  # of one item at most
GROUND = "#ececec"
FONTS = (  # for captions in Chinese, Japanese, Korean and others, where there is one of them
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "WenQuanYi Zen Hei", "PingFang SC", "Hiragino Sans GB"),
    *("Microsoft YaHei", "SimHei", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai"),
)
POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"  # nothing runs or is fetched
STYLE = """
:root { color-scheme: light dark }
body { margin: 0 auto; padding: 1.2rem; max-width: 72rem; background: #fff; font: 1rem/1.45 system-ui, sans-serif }
@media (prefers-color-scheme: dark) {
  body { background: #161616 }
  .xmr { --card: #222224; --ink: #ececec; --quiet: #a9a9a9; --line: #3a3a3c }
}
"""
CARDS = """
.xmr { --card: #f4f4f2; --ink: #1c1c1c; --quiet: #5c5c5c; --line: #dcdcd8; color: var(--ink); overflow-wrap: anywhere }
.xmr.panel { --card: var(--jp-layout-color2, #f4f4f2); --ink: var(--jp-ui-font-color1, #1c1c1c);
  --quiet: var(--jp-ui-font-color2, #5c5c5c); --line: var(--jp-border-color2, #dcdcd8) }
.xmr * { box-sizing: border-box }
.xmr h1 { font-size: 1.35rem; margin: 0 0 .6rem }
.xmr .asked { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; font-size: 1.1rem }
.xmr .note, .xmr small, .xmr footer { color: var(--quiet); font-size: .88rem; line-height: 1.35 }
.xmr ol { list-style: none; display: grid; grid-template-columns: repeat(auto-fill, minmax(min(14rem, 100%), 1fr));
  gap: 1rem; padding: 0; margin: 1.2rem 0 }
.xmr li { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden;
  display: flex; flex-direction: column; margin: 0 }
.xmr img { background: #e2e2e2 !important; border-radius: .3rem }
.xmr .asked img { height: 6rem !important }
.xmr li > img { width: 100%; height: 11rem !important; padding: .5rem; border-radius: 0 }
.xmr li > div { padding: .7rem .9rem .9rem; line-height: 1.45 }
.xmr li small { display: block; margin-top: .25rem }
.xmr audio { width: 100% !important; max-width: 20rem; margin-top: .3rem }
"""


def page(parts: Sequence[Query], found: Found, gallery: Collection, *, language: str) -> str:
    """The results as HTML: pictures and players inside, nothing from elsewhere, no scripts.

    Args:
        parts: what was asked.
        found: what was answered.
        gallery: where the items are.
        language: of the speech that is played first.
    """
    words, name = html.escape(query_words(parts)), html.escape(gallery.name)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{words}: search in {name}</title><style>{CARDS}{STYLE}</style></head><body>"
        f"{results_html(parts, found, gallery, language=language)}</body></html>\n"
    )


def results_html(parts: Sequence[Query], found: Found, gallery: Collection, *, language: str, kind: str = "") -> str:
    """The part of the page that shows what was asked and found; its style is `CARDS`."""
    rows = zip(found.table.index, found.table.to_dict("records"), strict=True)
    cards = [_card(rank, row, gallery[int(row["position"])], language) for rank, row in rows]
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in found.notes)
    return (
        f'<div class="xmr {kind}"><h1>Best {len(cards)} of {len(gallery)} items in {html.escape(gallery.name)}</h1>'
        f'<div class="asked">{"".join(map(_asked, parts))}</div>{notes}<ol>{"".join(cards)}</ol>'
        "<footer>A score counts standard deviations above the usual. Something always comes first, "
        "whether or not it is what was meant.</footer></div>"
    )


def query_words(parts: Sequence[Query]) -> str:
    """What was asked, in words."""
    kinds = {
        str: lambda part: f"“{shorten(part, 200, placeholder=' …')}”",
        Audio: lambda part: f"a sound of {part.seconds:.1f} s",
    }
    return " + ".join(kinds.get(type(part), lambda part: "a picture")(part) for part in parts)


def _asked(part: Query) -> str:
    if isinstance(part, str):
        return f"<b>{html.escape(part)}</b>"
    return part.player("the sound that was asked with") if isinstance(part, Audio) else _img(part, "the query picture")


def _card(rank: int, row: dict, item: Item, language: str) -> str:
    text = row["text"] or ""
    picture = "" if item.image is None else _img(item.image, text or f"picture of {item.id}")
    sounds = {} if item.sound is None else {"sound": item.sound}
    spoken = sorted(item.speech.items(), key=lambda pair: pair[0] != language)
    sounds |= {f"speech ({name})": audio for name, audio in spoken}
    players = [
        f"<small>{html.escape(name)}</small>{audio.player(f'{name} of {item.id}')}"
        for name, audio in list(sounds.items())[:PLAYERS]
    ]
    caption = f"<b>{html.escape(shorten(text, 300, placeholder=' …'))}</b>" if text else ""
    return (
        f"<li>{picture}<div>{rank}. {caption}<small>{html.escape(str(item.id))}</small>"
        f"<small>score {row['score']:.2f}; {html.escape(row['matched'])}</small>{''.join(players)}</div></li>"
    )


def _img(picture: Image.Image, alt: str) -> str:
    small = picture.copy()
    small.thumbnail((480, 480))
    return image_html(small, alt=alt, height=160)


def contact_sheet_bytes(found: pd.DataFrame, gallery: Collection, *, format: str = "png") -> bytes | None:
    """The pictures that were found with their captions as one picture, or None if none of the items has one.

    Raises:
        ValueError: if the format is not one that is written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from xmr_lab.plots import contact_sheet, use_style

    items = [gallery[int(position)] for position in found["position"]]
    texts = zip(found.index, items, found["text"], strict=True)
    pairs = [(item.image, f"{rank}. {text or item.id}") for rank, item, text in texts]
    images = [(image, title) for image, title in pairs if image is not None]
    if not images:
        return None
    use_style()
    fonts = ["DejaVu Sans", *_other_fonts()] if any(max(title) > "\u04ff" for _, title in images) else ["DejaVu Sans"]
    drawn = io.BytesIO()
    with plt.rc_context({"font.family": fonts}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that no font here has
        figure = contact_sheet([tile(image) for image, _ in images], titles=[title for _, title in images])
        try:
            figure.savefig(drawn, format=format)
        finally:
            plt.close(figure)
    return drawn.getvalue()


def _other_fonts() -> list[str]:
    """Those of `FONTS` that are installed."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    if not {font.name for font in fontManager.ttflist} & {*FONTS}:  # perhaps since matplotlib listed them
        for path in {*findSystemFonts()} - {font.fname for font in fontManager.ttflist}:
            with suppress(OSError, RuntimeError):
                fontManager.addfont(path)
    installed = {font.name for font in fontManager.ttflist}
    return [name for name in FONTS if name in installed]


def tile(image: Image.Image, size: int = 320) -> Image.Image:
    """The picture in the middle of a pale grey square, on which white things can be seen too."""
    small = ImageOps.contain(image.convert("RGBA"), (size - 16, size - 16))
    ground = Image.new("RGBA", (size, size), GROUND)
    ground.alpha_composite(small, ((size - small.width) // 2, (size - small.height) // 2))
    return ground.convert("RGB")
