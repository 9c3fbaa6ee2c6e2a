"""Search with a sentence, a picture and a voice, in Stamps and in a folder of one's own."""

import numpy as np
import pytest
from PIL import Image

from xmr_lab.data import Audio, load_folder, load_stamps
from xmr_lab.search import Searcher, read_query, search_command


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


@pytest.fixture(scope="module")
def searcher():
    return Searcher()


def test_a_sentence_finds_pictures(searcher):
    assert "food/fruit/apple_red" in set(searcher.search("a red apple", k=3)["id"])


def test_a_picture_finds_its_caption(searcher, stamps):
    assert searcher.search(stamps["animals/mammals/cats/lion"].image, k=1)["text"].tolist() == ["A lion."]


def test_a_voice_finds_the_picture(searcher, stamps):
    found = searcher.search(stamps["food/fruit/apple_red"].speech["es"], k=3)
    assert "food/fruit/apple_red" in set(found["id"])


def test_results_come_best_first_and_no_more_than_there_are(searcher):
    found = searcher.search("a horse", k=10_000)
    assert len(found) == 792 and found["score"].is_monotonic_decreasing and found["id"].is_unique


@pytest.mark.parametrize(
    ("query", "k", "error"), [("a horse", 0, ValueError), (7, 3, TypeError), (np.zeros(3), 3, TypeError)]
)
def test_bad_questions_are_refused(searcher, query, k, error):
    with pytest.raises(error):
        searcher.search(query, k)


def test_a_language_without_speech_lists_those_with_it():
    with pytest.raises(ValueError, match=r"language is one of be, bg, ca, da"):
        Searcher(language="xx")


def test_a_query_is_read_as_what_it_names(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.ogg").write_bytes(Audio(np.zeros(16_000, np.float32), 16_000).to_bytes())
    assert isinstance(read_query(str(tmp_path / "a.png")), Image.Image)
    assert isinstance(read_query(str(tmp_path / "b.ogg")), Audio)
    assert read_query("a red apple") == "a red apple"
    with pytest.raises(FileNotFoundError, match=r"leave out the ending '\.png'"):
        read_query("missing.png")
    with pytest.raises(ValueError, match="empty"):
        read_query("  ")
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="cannot decode"):
        read_query(str(tmp_path / "a.png"))


def test_the_command_prints_and_draws_what_it_finds_in_a_folder_of_ones_own(stamps, tmp_path, capsys):
    names = {"animals/mammals/cats/lion": "lion.png", "food/fruit/apple_red": "apple.png"}
    for id, name in names.items():
        stamps[id].image.save(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("id,image\nx,lion.png\ny,apple.png\n", "utf-8")
    search_command("a lion", folder=tmp_path, k=2, out=tmp_path / "sheets" / "found.png")
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["1", "x"]
    assert Image.open(tmp_path / "sheets" / "found.png").size[0] > 200
    with pytest.raises(ValueError, match="not supported"):
        search_command("a lion", folder=tmp_path, k=2, out=tmp_path / "sheets" / "found.xyz")
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["found.png"]  # no scratch file left


def test_a_collection_with_nothing_to_search_says_so(stamps, tmp_path):
    (tmp_path / "s.ogg").write_bytes(stamps.sounds[0].encoded)
    (tmp_path / "metadata.csv").write_text("id,audio\n1,s.ogg\n", "utf-8")
    with pytest.raises(ValueError, match="neither pictures nor captions"):
        Searcher(load_folder(tmp_path)).search("a lion")
