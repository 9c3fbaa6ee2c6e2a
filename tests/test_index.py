"""The index of a folder: computed once, grown, repaired, resumed, removed; and never in the reader's folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from xmr_lab.cli import main
from xmr_lab.data import load_stamps
from xmr_lab.encoders.base import unit_rows
from xmr_lab.search import FolderIndex
from xmr_lab.search import index as module


class Counting:
    """Encodes a text as its length and first letter, slowly if told so, and counts."""

    modality, dim, fingerprint = "text", 2, "counting"

    def __init__(self, delay=0.0):
        self.delay, self.asked = delay, 0

    def encode(self, items, *, batch_size=32, normalize=True, progress=True):
        vectors = []
        for item in items:
            time.sleep(self.delay)
            self.asked += 1
            vectors.append((len(item), ord(item[0])))
        return unit_rows(np.array(vectors, np.float32)) if normalize else np.array(vectors, np.float32)


@pytest.fixture
def folder(tmp_path):
    """A hundred texts, most of them different."""
    place = tmp_path / "my texts"
    place.mkdir()
    for i in range(100):
        (place / f"{i:03}.txt").write_text(f"{'abcdefg'[i % 7]}{'x' * (i // 2)}", "utf-8")
    yield place
    FolderIndex(place).remove()


def embedded(folder, encoder, *, tidy=True, force=False):
    """The vectors by id, and how many were computed."""
    with FolderIndex(folder, force=force).open() as index:
        view = index.load().texts(None)
        before = encoder.asked
        vectors = index.embed(encoder, view, method="encode")
        if tidy:
            index.tidy()
    return dict(zip(view.ids, vectors, strict=True)), encoder.asked - before


def test_only_what_is_new_is_computed(folder):
    encoder = Counting()
    first, computed = embedded(folder, encoder)
    assert computed == len({path.read_text() for path in folder.iterdir()})  # twins once
    assert_array_equal(first["003"], encoder.encode(["dx"])[0])
    (folder / "new.txt").write_text("zebra", "utf-8")
    (folder / "004.txt").rename(folder / "renamed.txt")
    second, computed = embedded(folder, encoder)
    assert computed == 1
    for id in first.keys() & second.keys():
        assert_array_equal(first[id], second[id])
    assert_array_equal(second["renamed"], first["004"])
    (folder / "005.txt").write_text("changed", "utf-8")
    assert embedded(folder, encoder)[1] == 1
    assert embedded(folder, encoder, force=True)[1] > 90


def test_what_is_gone_is_dropped_when_tidied(folder):
    embedded(folder, Counting())
    before = FolderIndex(folder).size()
    for path in sorted(folder.iterdir())[:-1]:
        path.unlink()
    embedded(folder, Counting())
    assert FolderIndex(folder).size() < before / 2


def kill_while_indexing(folder):
    embedded(folder, Counting(delay=0.02))


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_killed_run_is_resumed_where_it_was_last_saved(folder):
    process = multiprocessing.get_context("fork").Process(target=kill_while_indexing, args=(folder,))
    process.start()
    place = FolderIndex(folder).place
    deadline = time.monotonic() + 30
    while not list(place.rglob("*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    saved = len(list(place.rglob("*.safetensors")))
    (place / "left.safetensors.1.tmp").write_bytes(b"half")
    encoder = Counting()
    vectors, computed = embedded(folder, encoder)
    everything = len({path.read_text() for path in folder.iterdir()})
    assert saved >= 1 and computed == everything - saved * module.CHUNK
    assert len(vectors) == 100 and not list(place.rglob("*.tmp"))


def test_a_damaged_chunk_is_computed_again(folder):
    encoder = Counting()
    first, _ = embedded(folder, encoder)
    path = next(FolderIndex(folder).place.rglob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-5])
    (FolderIndex(folder).place / "files.json").write_text("{", "utf-8")
    with pytest.warns(UserWarning, match="damaged"):
        second, computed = embedded(folder, encoder)
    assert 0 < computed <= module.CHUNK
    assert_array_equal(np.stack([*first.values()]), np.stack([*second.values()]))
    assert embedded(folder, encoder)[1] == 0


def test_files_are_checked_once(folder, monkeypatch):
    stamps = load_stamps()
    for i in range(3):
        stamps.images[i].save(folder / f"{i}.png")
    looked = []
    monkeypatch.setattr(module, "fault", lambda modality, path: looked.append(path.name) or None)
    for _ in range(2):
        with FolderIndex(folder).open() as index:
            index.load()
    assert sorted(looked) == ["0.png", "1.png", "2.png"]
    os.utime(folder / "1.png", ns=(1, 1))
    with FolderIndex(folder).open() as index:
        index.load()
    assert looked[3:] == ["1.png"]


def test_broken_files_are_looked_at_again(folder, monkeypatch):
    load_stamps().images[0].save(folder / "a.png")
    for reason, left_out in (("is odd", 1), (None, 0)):
        monkeypatch.setattr(module, "fault", lambda modality, path, reason=reason: reason)
        with FolderIndex(folder).open() as index:
            assert len(index.load("skip").left_out) == left_out


def test_whoever_waits_is_told_so(folder, capsys):
    first = FolderIndex(folder)
    with first.open():
        second = threading.Thread(target=embedded, args=(folder, Counting()))
        second.start()
        second.join(timeout=2.5)
        assert second.is_alive()
    second.join(timeout=20)
    assert not second.is_alive() and "Waiting for another process" in capsys.readouterr().err


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path):
    """Pictures, sounds and captions with Chinese names, some of them broken."""
    stamps, place = load_stamps(), tmp_path / "我的收藏"
    place.mkdir()
    for i in range(3):
        stamps.images[i].save(place / f"图{i}.png")
    (place / "图0.txt").write_text("A bird.", "utf-8")
    (place / "图0.ogg").write_bytes(stamps.sounds[0].encoded)
    yield place
    FolderIndex(place).remove()


def listing(folder):
    return sorted((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*"))


def test_the_command_says_what_it_did_and_leaves_the_folder_alone(mixed, capsys):
    before = listing(mixed)
    assert main(["index", str(mixed)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("我的收藏: 3 items in ") and "pictures: 3, of which 3 computed now" in said
    assert "captions: 1, of which 1 computed" in said and "sounds: 1, of which 1 computed" in said
    assert main(["index", str(mixed)]) == 0
    assert "pictures: 3, of which 0 computed now" in capsys.readouterr().out
    assert main(["search", "a bird", "--in", str(mixed), "-k", "1", "--out", str(mixed.parent / "s.png")]) == 0
    assert "图0" in capsys.readouterr().out
    assert listing(mixed) == before
    assert main(["index", str(mixed), "--remove"]) == 0 and "Removed" in capsys.readouterr().out
    assert not FolderIndex(mixed).place.exists() and listing(mixed) == before
    assert main(["index", str(mixed), "--remove"]) == 0 and "no index" in capsys.readouterr().out


def test_broken_files_stop_the_command_unless_they_may_be_left_out(mixed, capsys):
    whole = (mixed / "图1.png").read_bytes()
    (mixed / "图1.png").write_bytes(whole[: len(whole) // 2])
    (mixed / "图2.png").write_bytes((mixed / "图0.ogg").read_bytes())
    assert main(["index", str(mixed)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("xmr-lab: error: 2 files of '我的收藏' cannot be used:") and "its content is a sound" in said
    assert main(["index", str(mixed), "--skip-broken"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Left out 2 files") and "我的收藏: 1 items" in said
    (mixed / "图1.png").write_bytes(whole)  # mended
    (mixed / "图2.png").unlink()
    assert main(["index", str(mixed)]) == 0 and "pictures: 2, of which 1 computed" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_listed_and_can_be_left_out(mixed, capsys):
    os.rename(mixed / "图1.png", os.fsencode(mixed) + b"/\xff.png")
    assert main(["index", str(mixed)]) == 2 and "its name is not UTF-8; rename it" in capsys.readouterr().err
    assert main(["index", str(mixed), "--skip-broken"]) == 0
    said = capsys.readouterr().out
    assert "pictures: 2" in said and "captions: 1" in said


@pytest.mark.parametrize("make", [lambda place: None, lambda place: place.mkdir(), lambda place: place.write_text("")])
def test_a_place_that_is_no_folder_of_items_is_refused(tmp_path, capsys, make):
    make(tmp_path / "x")
    assert main(["index", str(tmp_path / "x")]) == 2
    assert str(tmp_path / "x") in capsys.readouterr().err
    FolderIndex(tmp_path / "x").remove()


def test_a_cache_that_cannot_be_written_to_is_named(mixed, tmp_path):
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-m", "xmr_lab.cli", "index", str(mixed)]
    done = subprocess.run(
        command, env={**os.environ, "XMR_CACHE": str(tmp_path / "file")}, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Set XMR_CACHE to a folder that can be written to" in done.stderr
