"""The panel, filled in by a program as a person would in JupyterLab."""

import re
from datetime import datetime

import pytest

from xmr_lab.data import load_stamps
from xmr_lab.search import FolderIndex, search_panel


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


@pytest.fixture(scope="module")
def panel():
    return search_panel(k=3)


def upload(panel, *files):
    panel.files.value = [
        {
            "name": name,
            "type": "",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime(2026, 1, 1),
        }
        for name, content in files
    ]


def shown(panel):
    return re.findall(r"<li>.*?</li>", panel.results.value, re.DOTALL)


@pytest.fixture(autouse=True)
def emptied(panel):
    yield
    panel.text.value, panel.files.value, panel.folder.value, panel.skip_broken.value = "", (), "", False
    panel.pick.value, panel.language.value, panel.heard_as.value, panel.k.value = None, "es", "auto", 3


def test_a_text_shows_pictures_captions_scores_and_players(panel):
    panel.text.value = "a lion"
    panel.button.click()
    cards = shown(panel)
    assert len(cards) == 3 and panel.message.value == "" and not panel.button.disabled
    assert all("<img" in card and "score " in card for card in cards) and "A lion." in cards[0] and "<audio" in cards[0]
    assert "<script" not in panel.results.value and "http" not in panel.results.value


def test_uploads_are_searched_with_the_text(panel, stamps):
    sound = stamps["animals/birds/blackbird"].sound.encoded
    upload(panel, ("a bird.OGG", sound))
    panel.heard_as.value, panel.k.value = "sound", 5
    panel.search()
    assert len(shown(panel)) == 5 and "heard as a sound effect" in panel.results.value
    panel.text.value = "a blackbird"
    panel.search()
    assert "A blackbird" in shown(panel)[0]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "nothing to search for yet"),
        ([("x.png", b"")], "&#x27;x.png&#x27;: it is empty"),
        ([("x.png", b"no picture")], "not a picture that can be decoded"),
        ([("<b>.gif", b"OggS" + bytes(50))], "&lt;b&gt;.gif&#x27;: it is not a picture"),
        ([("letter.pdf", b"%PDF")], "of a kind that is not read"),
        ([("noending", b"x")], "of a kind that is not read"),
        ([("big.wav", bytes(9_000_001))], "more than 9 MB"),
    ],
)
def test_bad_input_is_a_message_and_the_panel_goes_on(panel, files, message):
    upload(panel, *files)
    panel.search()
    assert message in panel.message.value and "That did not work" in panel.message.value
    assert panel.results.value == "" and not panel.button.disabled and "/tmp" not in panel.message.value
    panel.files.value, panel.text.value = (), "a lion"
    panel.search()
    assert shown(panel)


def test_a_folder_of_ones_own_is_searched(panel, stamps, tmp_path):
    stamps.images[0].save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    panel.text.value, panel.folder.value = "a bird", str(tmp_path)
    panel.search()
    assert "b.png" in panel.message.value and not shown(panel)
    panel.skip_broken.value = True
    panel.search()
    assert len(shown(panel)) == 1 and "Left out: image" in panel.message.value
    panel.folder.value = str(tmp_path / "nowhere")
    panel.search()
    assert "no such folder" in panel.message.value
    FolderIndex(tmp_path).remove()
    FolderIndex(tmp_path / "nowhere").remove()


def test_an_unknown_language_is_refused():
    with pytest.raises(ValueError, match="language is one of be, bg"):
        search_panel(language="xx")


# -- to pick ---------------------------------------------------------------------------------------


def offered(panel):
    """The labels on the list to pick from."""
    return [label for label, _ in panel.pick.options]


def pick(panel, start):
    panel.pick.value = next(value for label, value in panel.pick.options if label.startswith(start))


def test_pictures_speech_and_sounds_of_the_collection_can_be_picked(panel, stamps):
    kinds = [label.partition(":")[0] for label in offered(panel)]
    assert kinds[0] == "nothing" and {kind: kinds.count(kind) for kind in kinds[1:]} == {
        "picture": 16,
        "speech": 16,
        "sound": 16,
    }
    for kind in ("picture", "speech", "sound"):
        pick(panel, kind)
        label = panel.pick.label.partition(": ")[2]
        panel.heard_as.value = "auto" if kind == "picture" else kind
        panel.search()
        assert len(shown(panel)) == 3 and panel.message.value == ""
        assert ("the sound that was asked with" in panel.results.value) == (kind != "picture")
        if kind != "speech":  # like finds itself
            assert label in shown(panel)[0]


def test_what_is_picked_is_searched_with_the_text_and_in_the_language_chosen(panel, stamps):
    panel.language.value = "fr"
    pick(panel, "speech")
    modality, language, row = panel.pick.value
    assert (modality, language) == ("audio", "fr") and stamps.speech("fr")[row].seconds > 0
    panel.text.value = "a lion"
    panel.search()
    assert "<b>a lion</b>" in panel.results.value and "the sound that was asked with" in panel.results.value
    assert "in &#x27;fr&#x27;, by assumption" in panel.results.value


def test_what_can_be_picked_is_of_the_folder_that_is_searched(panel, stamps, tmp_path):
    stamps.images[0].save(tmp_path / "a.png")
    (tmp_path / "b.ogg").write_bytes(stamps.sounds[0].encoded)
    (tmp_path / "broken.png").write_bytes(b"")
    panel.folder.value, panel.skip_broken.value = str(tmp_path), True
    assert offered(panel) == ["nothing", "picture: a", "sound: b"]
    pick(panel, "sound")
    panel.heard_as.value = "sound"
    panel.search()
    assert "2. " in shown(panel)[1] and "<small>b</small>" in shown(panel)[0]
    panel.folder.value = str(tmp_path / "nowhere")
    assert offered(panel) == ["nothing"] and panel.pick.value is None
    FolderIndex(tmp_path).remove()
