"""Collections: the embedded one as it ships, folders of one's own, and what damaged or hostile ones do."""

import io
import json
import pickle
import re
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from xmr_lab.data import Audio, BrokenFiles, decode_audio, decode_image, load_folder, load_stamps
from xmr_lab.data.splits import FRACTIONS, connected_groups, near_duplicates, stratified_group_split
from xmr_lab.data.stamps import stamps_folder, verify


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


# --- the embedded collection --------------------------------------------------------------------


def test_every_file_matches_its_checksum_and_all_fit_in_40_megabytes():
    names = verify()
    assert "items.parquet" in names
    assert sum(path.stat().st_size for path in stamps_folder().iterdir()) <= 40e6


def test_stamps_has_what_the_datasheet_says(stamps):
    assert len(stamps) == 792 and len(load_stamps(letters=True)) == 950
    assert {"es", "fr", "ca", "ru", "da", "nl"} <= set(stamps.languages("audio"))
    assert len(stamps.languages("text")) == 78  # English and 77 others
    assert len(stamps.images) == len(stamps.texts("en")) == 792
    assert (len(stamps.speech("es")), len(stamps.speech("da")), len(stamps.speech("nl"))) == (732, 321, 67)
    assert len(stamps.sounds) == 110
    assert set(stamps.table["domain"]) == {"photograph", "drawing"}


def test_every_picture_and_sound_decodes(stamps):
    for image in stamps.images:
        assert image.mode == "RGBA" and max(image.size) <= 224
    for view in [stamps.sounds, stamps.speech("nl")]:
        for sound in view:
            assert sound.rate == 16_000 and sound.samples.ndim == 1 and np.isfinite(sound.samples).all()


def test_splits_keep_groups_and_concepts_whole(stamps):
    table = load_stamps(letters=True).table
    assert table.groupby("group")["split"].nunique().max() == 1
    assert table.groupby("concept")["split"].nunique().max() == 1
    shares = stamps.table["split"].value_counts(normalize=True)
    assert all(abs(shares[name] - share) < 0.02 for name, share in FRACTIONS.items())
    big = stamps.table.groupby("label").filter(lambda rows: len(rows) >= 40)
    assert (big.groupby("label")["split"].apply(lambda s: (s == "test").mean()).between(0.2, 0.3)).all()


def test_mirrored_and_recoloured_pictures_share_a_group(stamps):
    group = stamps.table.set_index("id")["group"]
    assert group["symbols/math/operators/op6_lessthan"] == group["symbols/math/operators/op7_greaterthan"]
    assert group["people/body_parts/eye_blue_left"] == group["people/body_parts/eye_green_left"]
    assert group["animals/mammals/cats/lion"] == group["animals/mammals/cats/lion-2"]  # same caption


def test_selected_views_are_paired_row_by_row(stamps):
    spoken = stamps.select(split="test", modality="audio", language="da", domain="photograph")
    assert list(spoken.images.ids) == list(spoken.speech("da").ids) == list(spoken.table["id"])
    assert set(spoken.table["split"]) == {"test"}


def test_fingerprints_follow_the_contents(stamps):
    again = load_stamps()
    assert stamps.fingerprint == again.fingerprint
    assert stamps.texts("fr").fingerprint == again.texts("fr").fingerprint != stamps.texts("es").fingerprint


def test_an_item_shows_its_picture_and_its_sounds(stamps):
    shown = stamps["animals/birds/blackbird"]._repr_html_()
    assert shown.count("<audio") == 11 and 'alt="A blackbird' in shown  # ten languages and its song
    assert "http" not in shown


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (dict(split="dev"), "split is one of test, train, validation"),
        (dict(domain="painting"), "drawing, photograph"),
        (dict(language="es"), "needs a modality"),
    ],
)
def test_a_selection_that_cannot_be_met_says_what_can(stamps, ask, answer):
    with pytest.raises(ValueError, match=answer):
        stamps.select(**ask)


def test_an_unknown_language_lists_those_there_are(stamps):
    with pytest.raises(KeyError, match="audio:da"):
        stamps.speech("xx")


def test_a_damaged_or_missing_file_is_named_with_the_remedy(tmp_path):
    for path in stamps_folder().iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "speech_nl.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ValueError, match=r"speech_nl.parquet is not the file that was built.*git checkout"):
        load_stamps(tmp_path).speech("nl")
    (tmp_path / "items.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"items.parquet is missing"):
        load_stamps(tmp_path)
    (tmp_path / "SHA256SUMS").write_text("no checksum", "utf-8")
    with pytest.raises(ValueError, match=r"SHA256SUMS in .* is damaged.*git checkout"):
        load_stamps(tmp_path)
    with pytest.raises(FileNotFoundError, match="SHA256SUMS is missing"):
        load_stamps(tmp_path / "nowhere")


def test_other_readers_find_pictures_and_sounds_marked_as_such():
    described = json.loads(pq.read_schema(stamps_folder() / "items.parquet").metadata[b"huggingface"])
    assert described["info"]["features"]["image"] == {"_type": "Image"}
    assert pd.read_parquet(stamps_folder() / "items.parquet", columns=["id"]).shape == (950, 1)


# --- splits -------------------------------------------------------------------------------------


def test_connected_groups_follow_chains():
    assert connected_groups(5, [(0, 1), (1, 4)]).tolist() == [0, 0, 1, 2, 0]


def test_near_duplicates_sees_mirror_images_but_not_other_folders(stamps):
    image = stamps.images[0]
    flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert near_duplicates([image, flipped, stamps.images[400]], ["a", "a", "a"]) == [(0, 1)]
    assert near_duplicates([image, flipped], ["a", "b"]) == []


def test_a_split_is_the_same_on_every_run_and_differs_by_seed():
    labels, groups = ["a"] * 60 + ["b"] * 40, np.repeat(np.arange(50), 2)
    first = stratified_group_split(labels, groups)
    assert (first == stratified_group_split(labels, groups)).all()
    assert (first != stratified_group_split(labels, groups, seed=1)).any()


# --- sounds and pictures ------------------------------------------------------------------------


def test_a_tone_keeps_its_pitch_through_resampling_and_encoding():
    tone = Audio(np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype(np.float32), 44_100)
    for heard in (tone.resample(16_000), decode_audio(tone.resample(16_000).to_bytes())):
        spectrum = np.abs(np.fft.rfft(heard.samples[:16_000]))
        assert abs(spectrum.argmax() - 440) <= 1


def test_stereo_becomes_mono():
    stereo = Audio(np.stack([np.ones(10), -np.ones(10)], axis=1).astype(np.float32), 16_000)
    assert np.array_equal(stereo.mono().samples, np.zeros(10, dtype=np.float32))


@pytest.mark.parametrize("content", [b"", b"OggS", b"not a sound at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_what_is_not_a_sound_is_an_error_that_says_so(content):
    with pytest.raises(ValueError, match=r"cannot decode|no samples"):
        decode_audio(content)


def test_a_truncated_picture_is_an_error_that_names_it(stamps):
    buffer = io.BytesIO()
    stamps.images[0].save(buffer, "PNG")
    with pytest.raises(ValueError, match=r"cannot decode cat\.png as a picture"):
        decode_image(buffer.getvalue()[:-200], name="cat.png")


def test_a_picture_is_turned_as_the_camera_was_held():
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # orientation: a quarter turn
    Image.new("RGB", (40, 20)).save(buffer, "JPEG", exif=exif)
    assert decode_image(buffer.getvalue()).size == (20, 40)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8080, np.uint16)).save(buffer, "PNG")
    assert decode_image(buffer.getvalue()).getpixel((0, 0)) == (128, 128, 128, 255)


# --- bring your own -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, stamps):
    """Three items (small for testing): two with pictures, two with sounds, captions in two languages."""
    stamps.images[0].save(tmp_path / "a.png")
    stamps.images[1].save(tmp_path / "b.png")
    (tmp_path / "c.ogg").write_bytes(stamps.sounds[0].encoded)
    rows = ["id,text_en,text_de,image,audio", "1,A frog,Ein Frosch,a.png,", "2,A bird,,b.png,c.ogg", "3,,Hallo,,c.ogg"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows), "utf-8")
    return tmp_path


def rewrite(folder, old, new):
    path = folder / "metadata.csv"
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")


def test_a_folder_gives_the_same_kind_of_collection(folder):
    mine = load_folder(folder)
    assert [len(mine.images), len(mine.texts("en")), len(mine.texts("de")), len(mine.sounds)] == [2, 2, 2, 2]
    assert mine["2"].image.size == load_stamps().images[1].size
    assert set(mine.table["split"]) <= {"train", "validation", "test"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_table_may_be_json_lines_or_parquet(folder, kind):
    table = pd.read_csv(folder / "metadata.csv", dtype=str)
    (folder / "metadata.csv").unlink()
    path = folder / f"metadata.{kind}"
    table.to_json(path, orient="records", lines=True) if kind == "jsonl" else table.to_parquet(path)
    assert len(load_folder(folder).images) == 2


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("a.png", "../a.png", "leaves the folder"),
        ("a.png", "/etc/hostname", "leaves the folder"),
        ("a.png", "nosuch.png", "not a file"),
        ("2,A bird", "1,A bird", "more than once"),
        ("3,,Hallo", ",,Hallo", "a value in each"),
        ("id,", "name,", "needs a column 'id'"),
    ],
)
def test_bad_tables_are_refused(folder, old, new, error):
    rewrite(folder, old, new)
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        load_folder(folder)


def test_an_empty_cell_takes_the_default_and_words_like_none_are_texts(folder):
    (folder / "metadata.csv").write_text("id,text,label,group\nNA,None,x,\n2,null,,g\n3,,y,g\n4,owl,,\n", "utf-8")
    mine = load_folder(folder)
    assert mine["NA"].texts == {"": "None"} and list(mine.texts(None)) == ["None", "null", "owl"]
    assert mine.table["label"].tolist() == ["x", "item", "y", "item"]
    assert mine.table["group"].tolist() == ["none", "g", "g", "owl"]


def test_an_item_decodes_only_what_is_touched(folder):
    item = load_folder(folder)["2"]
    (folder / "c.ogg").write_bytes(b"no sound")  # after it was checked
    assert item.image.mode == "RGBA" and item.texts == {"en": "A bird"}
    with pytest.raises(ValueError, match="cannot decode audio of item '2'"):
        assert item.sound


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    outside.write_bytes((folder / "a.png").read_bytes())
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(outside)
    with pytest.raises(ValueError, match="leaves the folder"):
        load_folder(folder)


def wav(samples, rate=16_000, subtype="FLOAT"):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


SILENCE = np.zeros(16_000, np.float32)
NOISE = np.random.default_rng(0).normal(scale=0.1, size=160_000).astype(np.float32)
BROKEN = {
    "empty.png": (b"", "is empty"),
    "half.png": ("a.png", "cut short or damaged"),
    "half.wav": (wav(SILENCE)[:30_000], "cut short"),
    "half.ogg": (Audio(NOISE, 16_000).to_bytes()[:-9_000], "cut short"),
    "sound.png": (wav(SILENCE), "its content is a sound"),
    "picture.ogg": (b"\x89PNG\r\n\x1a\n" + bytes(50), "its content is a picture"),
    "page.jpg": (b"<!DOCTYPE html><html>404</html>", "its content is a web page"),
    "nan.wav": (wav(np.full(16_000, np.nan, np.float32)), "NaN"),
    "click.wav": (wav(SILENCE[:100]), "lasts 6 ms; at least 25"),
    "long.flac": (None, "lasts 11 minutes; at most 10"),
    "huge.png": (None, "MB; at most 200 MB"),
    "wide.bmp": (None, "10000 x 9000 pixels; at most 89 million"),
    "eps.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
    "folder.png": (None, "is a folder"),
    "nosuch.png": (None, "not a file"),
    "../above.png": (None, "leaves the folder"),
    "n" * 300 + ".png": (None, "cannot be opened|not a file"),
}


@pytest.fixture
def broken_folder(folder):
    """The folder with an item for each kind of broken file, which has a text as well; and one that has none."""
    for name, (content, _) in BROKEN.items():
        if isinstance(content, str):
            whole = (folder / content).read_bytes()
            content = whole[: len(whole) // 2]
        if content is not None:
            (folder / name).write_bytes(content)
    soundfile.write(folder / "long.flac", np.zeros(11 * 60 * 100, np.int16), 100)
    with (folder / "huge.png").open("wb") as file:
        file.truncate(201_000_000)  # takes no room on most disks
    head = b"BM" + bytes(8) + b"\x36\0\0\0" + b"\x28\0\0\0" + (10_000).to_bytes(4, "little")
    (folder / "wide.bmp").write_bytes(head + (9_000).to_bytes(4, "little") + b"\1\0\x18\0" + bytes(24))
    (folder / "folder.png").mkdir()
    lines = []
    for name in BROKEN:
        sound = name.endswith(("wav", "ogg", "flac"))
        lines.append(f"{name},text of it,,{'' if sound else name},{name if sound else ''}")
    with (folder / "metadata.csv").open("a", encoding="utf-8") as table:
        table.write("\n" + "\n".join([*lines, "alone,,,empty.png,"]))
    return folder


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_files_are_listed_all_at_once_with_the_reason(broken_folder):
    with pytest.raises(BrokenFiles, match=r"18 files of .* cannot be used") as caught:
        load_folder(broken_folder)
    assert "--skip-broken" in str(caught.value)
    reasons = {file.id: file.reason for file in caught.value.files}
    assert reasons.keys() == BROKEN.keys() | {"alone"}
    for name, (_, expected) in BROKEN.items():
        assert re.search(expected, reasons[name]), (name, reasons[name])
    assert not [reason for reason in reasons.values() if str(broken_folder) in reason]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # goes from process to process


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_broken_files_are_left_out_only_if_asked_and_items_keep_the_rest(broken_folder):
    mine = load_folder(broken_folder, broken="skip")
    assert [file.id for file in mine.left_out] == [file.id for file in mine.select(modality="image").left_out]
    assert len(mine.left_out) == len(BROKEN) + 1
    assert mine["half.wav"].sound is None and mine["half.wav"].texts == {"en": "text of it"}
    assert "alone" not in set(mine.table["id"]) and len(mine) == 3 + len(BROKEN)
    assert [len(mine.images), len(mine.sounds)] == [2, 2]
    for image in mine.images:
        assert image.mode == "RGBA"
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        load_folder(broken_folder, broken="no")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_to_itself_is_a_broken_file(folder):
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to("a.png")
    mine = load_folder(folder, broken="skip")
    assert [file.name for file in mine.left_out] == ["a.png"] and len(mine.images) == 1


def test_a_folder_of_which_nothing_is_left_says_so(folder):
    for name in ("a.png", "b.png", "c.ogg"):
        (folder / name).write_bytes(b"")
    (folder / "metadata.csv").write_text("id,image\n1,a.png\n2,b.png\n", "utf-8")
    with pytest.raises(
        ValueError, match=r"none of its 2 files can be used, such as image 'a.png' of item '1': is empty"
    ):
        load_folder(folder, broken="skip")


def test_a_table_in_another_encoding_asks_for_utf8(folder):
    (folder / "metadata.csv").write_bytes("id,text\n1,一头狮子\n".encode("gb18030"))
    with pytest.raises(ValueError, match=r"metadata\.csv in .* is not UTF-8 .*save it as UTF-8"):
        load_folder(folder)
    (folder / "metadata.csv").write_bytes("id,text\n1,一头狮子\n".encode("utf-8-sig"))  # as Excel writes it
    assert load_folder(folder)["1"].texts == {"": "一头狮子"}


def test_loose_files_of_one_name_are_one_item(folder):
    (folder / "metadata.csv").unlink()
    (folder / "动物").mkdir()
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.txt").write_text("no", "utf-8")
    (folder / "动物" / "狮子.PNG").write_bytes((folder / "a.png").read_bytes())
    (folder / "动物" / "狮子.txt").write_text("\ufeffA lion.\n", "utf-8")
    (folder / "a.gif").write_bytes((folder / "b.png").read_bytes())  # two pictures of one name
    (folder / "notes.pdf").write_bytes(b"%PDF")  # is none of our business
    mine = load_folder(folder)
    assert sorted(mine.table["id"]) == ["a", "a.png", "b", "c", "动物/狮子"]
    assert mine["动物/狮子"].texts == {"": "A lion."} and mine["动物/狮子"].image is not None
    assert mine["c"].sound is not None and set(mine.table["split"]) <= {"train", "validation", "test"}


def test_loose_texts_that_cannot_be_read_and_kinds_that_are_not_are_named(folder):
    (folder / "metadata.csv").unlink()
    (folder / "empty.txt").write_text(" \n", "utf-8")
    (folder / "latin.txt").write_bytes("Löwe".encode("latin-1"))
    (folder / "book.txt").write_text("word " * 30_000, "utf-8")
    (folder / "phone.heic").write_bytes(b"x")
    with pytest.raises(BrokenFiles) as caught:
        load_folder(folder)
    reasons = {file.name: file.reason for file in caught.value.files}
    assert reasons["empty.txt"] == "is empty" and "UTF-8" in reasons["latin.txt"] and "150 kB" in reasons["book.txt"]
    assert "this kind is not read; those that are: .bmp" in reasons["phone.heic"]
    assert sorted(load_folder(folder, broken="skip").table["id"]) == ["a", "b", "c"]


def test_a_group_torn_between_splits_is_refused(folder):
    rewrite(folder, "id,text_en", "id,split,group,text_en")
    rewrite(folder, "\n1,", "\n1,train,g,")
    rewrite(folder, "\n2,", "\n2,test,g,")
    rewrite(folder, "\n3,", "\n3,test,h,")
    with pytest.raises(ValueError, match="more than one split"):
        load_folder(folder)


def test_a_folder_without_a_table_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"metadata\.csv, metadata\.jsonl, metadata\.parquet"):
        load_folder(tmp_path)


def test_a_split_that_is_drawn_tears_neither_groups_nor_concepts(tmp_path):
    rows = [f"{i},text {i},g{i // 2},c{(i + 1) // 2 % 10}" for i in range(40)]  # chains of groups and concepts
    (tmp_path / "metadata.csv").write_text("\n".join(["id,text,group,concept", *rows]), "utf-8")
    table = load_folder(tmp_path).table
    assert table.groupby("concept")["split"].nunique().max() == table.groupby("group")["split"].nunique().max() == 1


def test_the_fingerprint_of_a_collection_follows_its_contents(folder):
    before = load_folder(folder).fingerprint
    assert load_folder(folder).fingerprint == before
    (folder / "a.png").write_bytes((folder / "b.png").read_bytes())
    assert load_folder(folder).fingerprint != before
