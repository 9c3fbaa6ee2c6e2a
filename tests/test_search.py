"""Search with texts, pictures and sounds, alone and together, in Stamps and in a folder of one's own."""

import re
from unicodedata import east_asian_width

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from xmr_lab.cli import main
from xmr_lab.data import Audio, load_folder, load_stamps
from xmr_lab.search import FolderIndex, Searcher, read_queries, read_query
from xmr_lab.search.page import page, tile
from xmr_lab.search.searcher import combined
from xmr_lab.search.table import table_lines

LION, APPLE = "animals/mammals/cats/lion", "food/fruit/apple_red"


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


@pytest.fixture(scope="module")
def searcher():
    return Searcher()


@pytest.fixture
def folder(tmp_path, stamps):
    """A lion with all modalities, an apple without a picture, a dog that is only a picture, and a sound alone."""
    place = tmp_path / "mine"
    place.mkdir()
    stamps[LION].image.save(place / "lion.png")
    (place / "lion.txt").write_text("A lion.", "utf-8")
    (place / "lion.ogg").write_bytes(stamps[LION].sound.encoded)
    (place / "苹果.txt").write_text("A red apple.", "utf-8")
    stamps["animals/mammals/dogs/fox"].image.save(place / "fox.png")
    (place / "owl.ogg").write_bytes(stamps["animals/birds/blackbird"].sound.encoded)
    yield place
    FolderIndex(place).remove()


@pytest.fixture
def search(tmp_path, capsys):
    """`xmr-lab search`: its status and what it prints."""

    def command(*words):
        status = main(["search", *map(str, words), "--out", str(tmp_path / "out" / "found.png")])
        said = capsys.readouterr()
        return status, said.out + said.err

    return command


# --- what is found -------------------------------------------------------------------------------


def test_a_sentence_finds_pictures_without_captions(stamps):
    found = Searcher(through=["picture"]).search("a red apple", k=3)
    assert APPLE in set(found["id"]) and all(line.startswith("picture +") for line in found["matched"])


def test_a_picture_finds_its_caption(stamps):
    found = Searcher(through=["caption"]).search(stamps[LION].image, k=1)
    assert found["text"].tolist() == ["A lion."]


def test_a_voice_finds_the_picture(searcher, stamps):
    found = searcher.find(stamps[APPLE].speech["es"], k=3)
    assert APPLE in set(found.table["id"])
    assert re.fullmatch(r"The clip of 1.\d s is heard as speech, with .* in 'es', by assumption\.", found.notes[0])


def test_a_sound_finds_itself_and_its_kind_can_be_said(searcher, stamps):
    effect = stamps["animals/birds/blackbird"].sound
    found = searcher.find(effect, k=1)
    assert found.table["id"].tolist() == ["animals/birds/blackbird"]
    assert "sound effect, with probability" in found.notes[0]
    said = searcher.find(effect, k=1, heard_as="speech").notes[0]
    assert said.endswith("heard as speech; in 'es', by assumption.")
    with pytest.raises(ValueError, match="'speech', as a 'sound', or 'auto'"):
        searcher.find(effect, heard_as="music")


def test_silence_is_called_silence(searcher):
    (note,) = searcher.find(Audio(np.zeros(16_000, np.float32), 16_000), k=1).notes
    assert note.endswith("It is silent: what is found says nothing about it.")


def test_two_parts_find_what_neither_finds_alone(searcher, stamps):
    """The picture of a green apple, and the word that says what is different."""
    asked = [stamps["food/fruit/apple_green"].image, "a banana"]
    both, *alone = (searcher.search(query, k=5)["id"].tolist() for query in (asked, *asked))
    assert both[0].startswith("food/fruit/banana") or "food/fruit/apple_green" in both[:2]
    assert set(both) & set(alone[0]) and set(both) & set(alone[1])


def test_results_come_best_first_and_no_more_than_there_are(searcher):
    found = searcher.search("a horse", k=10_000)
    assert len(found) == 792 and found["score"].is_monotonic_decreasing and found["id"].is_unique


def test_what_an_item_lacks_counts_neither_for_nor_against_it():
    nan = np.nan
    first, second = np.array([3.0, nan, 0.0, nan]), np.array([3.0, 3.0, 3.0, nan])
    both, only, doubted, nothing = combined([first, second], [0.8, 0.8])
    assert both > only > doubted > 0 and only == pytest.approx(0.8 * 3) and np.isnan(nothing)


@given(st.lists(st.tuples(st.floats(0.05, 0.95), st.floats(-5, 5)), min_size=1, max_size=4))
def test_scores_are_combined_as_the_normal_distribution_says(pairs):
    """Against the conditional mean of a multivariate normal, worked out with matrices."""
    r, z = map(np.array, zip(*pairs, strict=True))
    covariance = np.outer(r, r) + np.diag(1 - r**2)
    want = r @ np.linalg.solve(covariance, z)
    assert combined([np.array([value]) for value in z], list(r))[0] == pytest.approx(want, abs=1e-9)


def test_items_that_lack_a_modality_are_found_by_the_others(folder, search, stamps):
    status, said = search("an apple", "--in", folder, "-k", "2")
    assert status == 0 and said.splitlines()[2].split()[:2] == ["1", "苹果"]
    assert search("a fox", "--in", folder)[1].splitlines()[2].split()[1] == "fox"
    stamps["animals/mammals/dogs/fox"].image.save(folder.parent / "q.png")
    status, said = search(folder.parent / "q.png", "--in", folder)
    assert said.splitlines()[2].split()[1] == "fox"
    (folder.parent / "q.ogg").write_bytes(stamps["animals/birds/blackbird"].sound.encoded)
    status, said = search(folder.parent / "q.ogg", "--in", folder, "--heard-as", "sound")
    assert said.splitlines()[3].split()[1] == "owl"


def test_a_collection_of_sounds_alone_can_be_searched(stamps, tmp_path):
    (tmp_path / "s.ogg").write_bytes(stamps[LION].sound.encoded)
    (tmp_path / "t.ogg").write_bytes(stamps["animals/birds/blackbird"].sound.encoded)
    found = Searcher(load_folder(tmp_path)).search("a lion", k=5)
    assert found["id"].tolist() == ["s", "t"] and found["text"].tolist() == ["", ""]


def test_speech_stands_in_for_a_caption_that_is_not_there(stamps, tmp_path):
    (tmp_path / "a.ogg").write_bytes(stamps[APPLE].speech["es"].encoded)
    (tmp_path / "l.ogg").write_bytes(stamps[LION].speech["es"].encoded)
    table = "id,text,audio_es,audio_sw\napple,,a.ogg,\nlion,,l.ogg,\nboth,A chair.,l.ogg,a.ogg\n"
    (tmp_path / "metadata.csv").write_text(table, "utf-8")
    found = Searcher(load_folder(tmp_path)).search("a lion").set_index("id")["matched"]
    assert found["lion"].startswith("speech (es) +") and found["both"].startswith("caption")  # though it says so


# --- in which language ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("红苹果", "zh_CN"),
        ("红苹果的照片", "zh_CN"),
        ("una manzana roja", "es"),
        ("ein roter Apfel", "de"),
        ("красное яблоко", "ru"),
        ("تفاحة حمراء", "ar"),
        ("りんご", "ja"),
        ("a red apple", "en"),
        ("an apple on a bicycle, photographed", "en"),
        ("beach", "en"),  # a word of Irish too
        ("a b -x", ""),
        ("ಠ_ಠ", ""),
        ("🍎 3", ""),
        ("\0", ""),
    ],
)
def test_the_language_of_a_text_is_found_by_its_words(searcher, text, language):
    assert searcher.bridges.texts.language_of(text)[0] == language


@pytest.mark.parametrize("text", ["红苹果", "una manzana roja", "красное яблоко"])
def test_a_text_in_another_language_finds_pictures_too(text):
    found = Searcher(through=["picture"]).find(text, k=3)
    assert APPLE in set(found.table["id"])
    assert re.match(r"The text '.*' is read as (zh_CN|es|ru), by what Stamps has", found.notes[0])


def test_what_is_not_known_in_a_language_is_named_and_what_is_of_none_is_read_as_english(searcher):
    (said,) = searcher.find("Haus am qwertz", k=1).notes
    assert said.endswith("is read as de, by what Stamps has in that language; not known: qwertz.")
    (said,) = searcher.find("ಠಠಠ", k=1).notes
    assert "is read as English, since" in said
    assert searcher.find("a red apple", k=1).notes == ()


def test_sentences_of_several_languages_lie_where_english_ones_do(searcher, stamps):
    texts = searcher.bridges.texts
    mixed = ["A lion.", "Un león.", "一头狮子。", "A lion."]
    vectors = texts.encode(mixed, progress=False)
    assert vectors.shape == (4, 384) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    near = vectors @ texts.english.encode(["A lion.", "A telephone."], progress=False).T
    assert (near[:, 0] > near[:, 1] + 0.3).all() and np.array_equal(vectors[0], vectors[3])


def test_a_folder_with_captions_in_chinese_is_searched_in_chinese_and_english(tmp_path, stamps):
    for i, id in enumerate([LION, APPLE, "animals/birds/owl"]):
        (tmp_path / f"{i}.txt").write_text(stamps[id].texts["zh_CN"], "utf-8")
    searcher = Searcher(load_folder(tmp_path))
    for text in ("苹果", "an apple"):
        assert searcher.search(text, k=1)["id"].tolist() == ["1"]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "k", "error"),
    [
        ("a horse", 0, ValueError),
        (7, 3, TypeError),
        (np.zeros(3), 3, TypeError),
        ("  ", 3, ValueError),
        ([], 3, ValueError),
    ],
)
def test_bad_questions_are_refused(searcher, query, k, error):
    with pytest.raises(error):
        searcher.search(query, k)


def test_what_is_not_there_lists_what_is(tmp_path):
    with pytest.raises(ValueError, match=r"language is one of be, bg, ca, da"):
        Searcher(language="xx")
    with pytest.raises(ValueError, match=r"some of caption, picture, speech, sound; got smell"):
        Searcher(through=["smell"])
    (tmp_path / "a.txt").write_text("A lion.", "utf-8")
    with pytest.raises(ValueError, match="has no picture or sound"):
        Searcher(load_folder(tmp_path), through=["picture", "sound"])


def test_a_query_is_read_as_what_it_names(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.ogg").write_bytes(Audio(np.zeros(16_000, np.float32), 16_000).to_bytes())
    assert isinstance(read_query(str(tmp_path / "a.png")), Image.Image)
    assert isinstance(read_query(str(tmp_path / "b.ogg")), Audio)
    words, picture, sound = read_queries([str(tmp_path / "a.png"), "a", str(tmp_path / "b.ogg"), "red apple"])
    assert words == "a red apple" and isinstance(picture, Image.Image) and isinstance(sound, Audio)
    with pytest.raises(FileNotFoundError, match=r"leave out the ending '\.png'"):
        read_query("missing.png")
    with pytest.raises(ValueError, match="empty"):
        read_query("  ")
    with pytest.raises(ValueError, match="nothing is fetched"):
        read_query("https://example.org/a.png")
    with pytest.raises(ValueError, match="is a folder"):
        read_query(str(tmp_path))
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_query("\udcff word")
    for text in ("and/or", "~nobody at all", "x\0y"):
        assert read_query(text) == text
    assert read_query("costs 3.50 " * 100).startswith("costs")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"not a picture", "not a picture that can be decoded"),
        ("sound.png", b"OggS" + bytes(99), "its content is a sound"),
        ("half.wav", b"RIFF\xff\x00\x00\x00WAVEfmt ", "is cut short: its end is missing"),
        ("letter.docx", b"PK", "of a kind that is not read; those that are: .bmp"),
    ],
)
def test_a_query_that_cannot_be_read_ends_with_one_line_and_status_2(search, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    status, said = search("a lion", tmp_path / name)
    assert status == 2 and words in said and said.startswith("xmr-lab: error: ") and said.count("\n") == 1


def test_a_folder_with_broken_files_is_searched_only_if_told_so(folder, search):
    (folder / "lion.png").write_bytes(b"")
    status, said = search("a lion", "--in", folder)
    assert status == 2 and "lion.png" in said and "--skip-broken" in said
    status, said = search("a lion", "--in", folder, "--skip-broken")
    assert status == 0 and said.startswith(
        "Left out 1 file that cannot be used:\n  image 'lion.png' of item 'lion': is empty"
    )
    assert search("a lion", "--in", folder / "nowhere")[0] == 2


# --- what is shown -------------------------------------------------------------------------------


def test_the_command_writes_a_table_a_sheet_and_a_page(folder, search, tmp_path):
    status, said = search("a", "lion", folder / "lion.ogg", "--in", folder, "-k", "3")
    assert status == 0 and said.startswith("Searching mine (4 items) for “a lion” + a sound of 1.")
    assert Image.open(tmp_path / "out" / "found.png").size[0] > 200
    text = (tmp_path / "out" / "found.html").read_text("utf-8")
    assert text.count("<li>") == 3 and text.count("<audio") >= 2 and 'alt="A lion."' in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text) and "http:" not in text and "https:" not in text
    assert main(["search", "a lion", "--in", str(folder), "--out", str(tmp_path / "out" / "found.xyz")]) == 2
    assert main(["search", "a lion", "--out", str(tmp_path / "out" / "found.html")]) == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["found.html", "found.png"]


def test_hostile_captions_are_only_text(stamps, tmp_path, search):
    place = tmp_path / "mine"
    place.mkdir()
    stamps[LION].image.save(place / "a.png")
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    ids = ['" onload="alert(3)', "</style><script>alert(4)</script>"]
    quoted = [text.replace('"', '""') for text in (*ids, hostile)]
    lines = [f'"{id}","{quoted[2]}",a.png' for id in quoted[:2]]
    (place / "metadata.csv").write_text("\n".join(["id,text,image", *lines, "m,$\\frac{1}$ and $5,a.png"]), "utf-8")
    status, _ = search(hostile, "--in", place)
    text = (tmp_path / "out" / "found.html").read_text("utf-8")
    assert status == 0 and "<script" not in text and not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', '""', text))
    assert text.count("&lt;script&gt;alert(1)") >= 4 and "default-src 'none'" in text
    FolderIndex(place).remove()


def test_a_sheet_is_not_written_among_the_items(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["search", "a lion", "--in", "."]) == 2
    assert "--out ../contact_sheet.png" in capsys.readouterr().err
    (folder / "metadata.csv").write_text("id,image\nlion,lion.png\n", "utf-8")
    assert main(["search", "a lion", "--in", "."]) == 0  # the table says what the items are


def test_where_nothing_can_be_written_another_place_is_asked_for(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["search", "a lion", "-k", "1", "--out", str(tmp_path / "file" / "x.png")]) == 2
    assert "another place: --out PATH" in capsys.readouterr().err


def test_parts_of_a_query_are_told_apart(searcher, stamps):
    found = searcher.search(["a lion", stamps[LION].image], k=1)
    assert re.fullmatch(r"text: (\w+ [+-][\d.]+(, )?)+; picture: (\w+ [+-][\d.]+(, )?)+", found["matched"].iloc[0])


def test_white_pictures_show_on_the_sheet():
    drawn = np.asarray(tile(Image.new("RGBA", (10, 20), "white"), 100))
    assert drawn.shape == (100, 100, 3) and (drawn[50, 50] == 255).all() and (drawn[50, 5] < 240).all()


@pytest.mark.parametrize("width", [0, 40, 60, 80, 120])
def test_a_table_is_as_wide_as_the_terminal(width):
    table = pd.DataFrame(
        {
            "rank": [1, 2],
            "id": ["animals/mammals/cats/lion", "图" * 30],
            "score": [12.5, -0.256],
            "matched": ["caption +6.1, picture +5.0", "picture +5.0"],
            "text": ["long " * 30, "two\nlines \x1b[31m"],
            "nothing": ["", ""],
        }
    )
    lines = table_lines(table, width)
    assert len(lines) == 3 and "nothing" not in lines[0] and "12.50" in lines[1] and "\x1b" not in lines[2]
    places = [sum(1 + (east_asian_width(sign) == "W") for sign in line) for line in lines]
    assert max(places) <= (width or 1000)
    if width:
        assert "lion " in lines[1] and lines[1].endswith("…")
    else:
        assert "…" not in "".join(lines)


def test_a_page_of_items_without_pictures_has_no_sheet(folder, search, tmp_path):
    for name in ("lion.png", "fox.png"):
        (folder / name).unlink()
    status, said = search("a lion", "--in", folder)
    assert status == 0 and "no contact sheet" in said and not (tmp_path / "out" / "found.png").exists()
    assert "<img" not in (tmp_path / "out" / "found.html").read_text("utf-8")


def test_a_page_says_what_was_asked(searcher, stamps):
    parts = ["a bird", stamps[LION].image]
    text = page(parts, searcher.find(parts, k=1), searcher.gallery, language="fr")
    assert "<title>“a bird” + a picture: search in stamps</title>" in text and "speech (fr)" in text
