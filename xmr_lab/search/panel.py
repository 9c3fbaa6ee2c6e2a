"""Search in JupyterLab: type, upload, look and listen."""

from __future__ import annotations

import html
import warnings
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from xmr_lab.data import load_stamps

from .command import answer
from .page import CARDS, results_html
from .queries import read_queries, read_upload

__all__ = ["SearchPanel", "search_panel"]

LARGEST_UPLOAD = 9_000_000  # bytes: above ten million the connection to the kernel breaks


class SearchPanel(widgets.VBox):
    """The panel; its parts are attributes, so that a program can fill it in as a person does.

    Attributes:
        text, files: the query; both together are one.
        folder: to search; empty for Stamps.
        k, language, heard_as, skip_broken: as for ``xmr-lab search``.
        button: starts the search, as the Enter key in ``text`` does.
        message, results: what came of it, as HTML.
    """

    def __init__(self, folder: str | Path = "", *, k: int = 10, language: str = "es") -> None:
        wide = widgets.Layout(width="24em", max_width="100%")
        self.text = widgets.Text(description="Text", placeholder="a red apple", layout=wide)
        self.files = widgets.FileUpload(description="Pictures, sounds", accept="image/*,audio/*", multiple=True)
        self.folder = widgets.Text(description="Folder", value=str(folder), placeholder="empty: Stamps", layout=wide)
        narrow = widgets.Layout(width="11em")
        self.k = widgets.BoundedIntText(description="Results", value=k, min=1, max=100, layout=narrow)
        spoken = load_stamps().languages("audio")
        self.language = widgets.Dropdown(description="Language", options=spoken, value=language, layout=narrow)
        kinds = [("by its sound", "auto"), ("as speech", "speech"), ("as an effect", "sound")]
        self.heard_as = widgets.Dropdown(description="Hear sounds", options=kinds, layout=widgets.Layout(width="16em"))
        self.skip_broken = widgets.Checkbox(description="leave out broken files", indent=False)
        self.button = widgets.Button(description="Search", button_style="primary", icon="search")
        self.message, self.results = widgets.HTML(), widgets.HTML()
        self.button.on_click(self.search)
        with warnings.catch_warnings():  # no other way tells Enter from leaving the field
            warnings.simplefilter("ignore", DeprecationWarning)
            self.text.on_submit(self.search)
        rows = [
            [self.text, self.files, self.button],
            [self.folder, self.skip_broken],
            [self.k, self.language, self.heard_as],
        ]
        wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
        super().__init__([*(widgets.Box(row, layout=wrap) for row in rows), self.message, self.results])

    def search(self, _: Any = None) -> None:
        """Search for what is filled in, and show it, or say what is wrong with it."""
        self.button.disabled, self.results.value = True, ""
        self.message.value = "Searching … (the first time takes longer)"
        try:
            asked = read_queries([self.text.value]) if self.text.value.strip() else []
            for file in self.files.value:
                if file["size"] > LARGEST_UPLOAD:
                    raise ValueError(
                        f"{file['name']!r} has more than {LARGEST_UPLOAD // 10**6} MB; give its path as text"
                    )
                asked.append(read_upload(file["name"], bytes(file["content"])))
            if not asked:
                raise ValueError("nothing to search for yet: type a text, or upload a picture or a sound")
            found, gallery = answer(
                asked,
                folder=Path(self.folder.value.strip()).expanduser() if self.folder.value.strip() else None,
                k=self.k.value,
                language=self.language.value,
                heard_as=self.heard_as.value,
                skip_broken=self.skip_broken.value,
            )
            shown = results_html(asked, found, gallery, language=self.language.value, kind="panel")
            self.results.value = f"<style>{CARDS}</style>{shown}"
            lines = [f"Left out: {each}" for each in gallery.left_out]
            self.message.value = "<br>".join(map(html.escape, lines))
        except (ValueError, OSError, TypeError, ModuleNotFoundError) as error:
            words = html.escape(str(error)).replace("\n", "<br>")
            self.message.value = f'<b role="alert">That did not work.</b> {words}'
        finally:
            self.button.disabled = False


def search_panel(folder: str | Path = "", *, k: int = 10, language: str = "es") -> SearchPanel:
    """A panel to search Stamps, or a folder of one's own, in JupyterLab; see `SearchPanel`.

    Raises:
        ValueError: if Stamps has no speech in ``language``.
    """
    if language not in (spoken := load_stamps().languages("audio")):
        raise ValueError(f"no speech in {language!r}; language is one of {', '.join(spoken)}")
    return SearchPanel(folder, k=k, language=language)
