"""Search in JupyterLab: type, upload or pick, look and listen."""

from __future__ import annotations

import html
import warnings
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np

from xmr_lab.data import Collection, load_stamps

from .command import answer
from .index import FolderIndex
from .page import CARDS, results_html
from .queries import read_queries, read_upload
from .searcher import Query, caption

__all__ = ["SearchPanel", "search_panel"]

LARGEST_UPLOAD = 9_000_000  # bytes: above ten million the connection to the kernel breaks
OFFERED = 16  # items of each kind to pick from


class SearchPanel(widgets.VBox):
    """The panel; its parts are attributes, so that a program can fill it in as a person does.

    Attributes:
        text, files, pick: the query; what is filled in is searched for together. To pick are pictures, speech in
            ``language`` and sounds of the collection, some of each from its beginning to its end.
        folder: to search; empty for Stamps.
        k, language, heard_as, skip_broken: as for ``xmr-lab search``.
        button: starts the search, as the Enter key in ``text`` does.
        message, results: what came of it, as HTML.
    """

    def __init__(self, folder: str | Path = "", *, k: int = 10, language: str = "es") -> None:
        wide = widgets.Layout(width="24em", max_width="100%")
        self.text = widgets.Text(description="Text", placeholder="a red apple", layout=wide)
        self.files = widgets.FileUpload(description="Pictures, sounds", accept="image/*,audio/*", multiple=True)
        self.pick = widgets.Dropdown(description="Or pick", options=[("nothing", None)], layout=wide)
        self.folder = widgets.Text(description="Folder", value=str(folder), placeholder="empty: Stamps", layout=wide)
        self.folder.continuous_update = False  # a path is looked at when it is complete
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
        self.folder.observe(self._offer, "value")
        self.language.observe(self._offer, "value")
        self._offer()
        with warnings.catch_warnings():  # no other way tells Enter from leaving the field
            warnings.simplefilter("ignore", DeprecationWarning)
            self.text.on_submit(self.search)
        rows = [
            [self.text, self.files, self.pick, self.button],
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
            if self.pick.value is not None:
                asked.append(self._picked(*self.pick.value))
            if not asked:
                raise ValueError("nothing to search for yet: type a text, upload a picture or a sound, or pick one")
            found, gallery = answer(
                asked,
                folder=self._place(),
                k=self.k.value,
                language=self.language.value,
                heard_as=self.heard_as.value,
                skip_broken=self.skip_broken.value,
            )
            shown = results_html(asked, found, gallery, language=self.language.value, kind="panel")
            self.results.value = f"<style>{CARDS}</style>{shown}"
            lines = [f"Left out: {each}" for each in gallery.left_out]
            self.message.value = "<br>".join(map(html.escape, lines))
        except (ValueError, OSError, TypeError, RuntimeError, ModuleNotFoundError) as error:
            words = html.escape(str(error)).replace("\n", "<br>")
            self.message.value = f'<b role="alert">That did not work.</b> {words}'
        finally:
            self.button.disabled = False

    def _place(self) -> Path | None:
        """The folder to search, None for Stamps."""
        return Path(self.folder.value.strip()).expanduser() if self.folder.value.strip() else None

    def _offer(self, _: Any = None) -> None:
        """Put items of the collection on the list to pick from."""
        options: list[tuple[str, tuple[str, str | None, int] | None]] = [("nothing", None)]
        try:
            self._offered: Collection | None = self._collection()
        except (ValueError, OSError, RuntimeError):
            self._offered = None  # what is wrong with a folder is said when it is searched
        language = self.language.value
        for kind, key in (("picture", ("image", None)), ("speech", ("audio", language)), ("sound", ("audio", None))):
            if self._offered is not None and key in self._offered.fields:
                view = self._offered.view(*key)
                for row in np.unique(np.linspace(0, len(view) - 1, OFFERED).astype(int)):
                    item = self._offered[int(view.positions[row])]
                    options.append((f"{kind}: {caption(item.texts) or item.id}", (*key, int(row))))
        self.pick.options = options

    def _collection(self) -> Collection:
        if (place := self._place()) is None:
            return load_stamps()
        with FolderIndex(place).open() as index:
            return index.load("skip")

    def _picked(self, modality: str, language: str | None, row: int) -> Query:
        assert self._offered is not None  # else nothing could be picked
        return self._offered.view(modality, language)[row]


def search_panel(folder: str | Path = "", *, k: int = 10, language: str = "es") -> SearchPanel:
    """A panel to search Stamps, or a folder of one's own, in JupyterLab; see `SearchPanel`.

    Raises:
        ValueError: if Stamps has no speech in ``language``.
    """
    if language not in (spoken := load_stamps().languages("audio")):
        raise ValueError(f"no speech in {language!r}; language is one of {', '.join(spoken)}")
    return SearchPanel(folder, k=k, language=language)
