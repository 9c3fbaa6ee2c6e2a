"""The embedding cache: computed once, verified, atomic, resumable."""

from __future__ import annotations

import multiprocessing
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from xmr_lab.data import Audio
from xmr_lab.encoders import cache, cache_info, cached, cached_encode, clear_cache
from xmr_lab.encoders.base import unit_rows


class Counting:
    """Encodes a text as its length and first letter, and counts how many it was asked for."""

    modality, dim = "text", 2

    def __init__(self, fingerprint: str = "a", delay: float = 0, fail_at: str | None = None) -> None:
        self.fingerprint, self.delay, self.fail_at, self.asked = fingerprint, delay, fail_at, 0

    def encode(self, items, *, batch_size=32, normalize=True, progress=True):
        vectors = np.array([self.one(item) for item in items], dtype=np.float32)
        return unit_rows(vectors) if normalize else vectors

    def one(self, item):
        if item == self.fail_at:
            raise KeyboardInterrupt
        time.sleep(self.delay)
        self.asked += 1
        return len(item), ord(item[0])

    def frames(self, items, *, progress=True):
        return [np.full((len(item), 3), ord(item[0]), np.float32) for item in items]


TEXTS = ["one", "three", "fourteen"]


def test_computed_once(tmp_path):
    encoder = Counting()
    first = cached_encode(encoder, TEXTS, cache_dir=tmp_path)
    second = cached_encode(encoder, TEXTS, cache_dir=tmp_path)
    assert_array_equal(first, second)
    assert_array_equal(first, encoder.encode(TEXTS))
    assert encoder.asked == 6 and second.flags.writeable  # three when computed, three in the line above


def test_what_the_key_depends_on(tmp_path):
    encoder = Counting()
    cached_encode(encoder, TEXTS, cache_dir=tmp_path)
    cached_encode(encoder, TEXTS, cache_dir=tmp_path, normalize=False)
    cached_encode(encoder, TEXTS[::-1], cache_dir=tmp_path)
    cached_encode(Counting("b"), TEXTS, cache_dir=tmp_path)
    assert len(cache_info(tmp_path)) == 4


def test_contents_not_objects_make_the_key():
    image, sound = Image.new("RGB", (4, 4), "red"), Audio(np.zeros(9, np.float32), 8_000)
    prints = {
        cache.fingerprint_of_items(items)
        for items in (
            ["ab"], ["a", "b"], [], [image], [Image.new("RGB", (4, 4), "blue")], [sound],
            [Audio(sound.samples, 16_000)], [Audio(np.ones(9, np.float32), 8_000)],
        )
    }  # fmt: skip
    assert len(prints) == 8
    assert cache.fingerprint_of_items([image.copy()]) == cache.fingerprint_of_items([image])
    with pytest.raises(TypeError, match="int"):
        cache.fingerprint_of_items([1])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "header"])
def test_a_damaged_file_is_computed_again(tmp_path, damage):
    want = cached_encode(Counting(), TEXTS, cache_dir=tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
    if damage == "header":
        data[2] ^= 255
    path.write_bytes({"cut": data[:-5], "empty": b""}.get(damage, data))
    with pytest.warns(UserWarning, match="damaged"):
        assert_array_equal(cached_encode(Counting(), TEXTS, cache_dir=tmp_path), want)
    assert_array_equal(cached_encode(Counting(fail_at="one"), TEXTS, cache_dir=tmp_path), want)


def test_an_interrupted_computation_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "PART", 10)  # small for testing
    texts = [f"{i} text" for i in range(35)]
    with pytest.raises(KeyboardInterrupt):
        cached_encode(Counting(fail_at="27 text"), texts, cache_dir=tmp_path)
    encoder = Counting()
    got = cached_encode(encoder, texts, cache_dir=tmp_path)
    assert encoder.asked == 15
    assert_array_equal(got, encoder.encode(texts))
    assert not list(tmp_path.glob("*.part-*")) and not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("part", [2, 100])
def test_lists_of_arrays(tmp_path, monkeypatch, part):
    monkeypatch.setattr(cache, "PART", part)
    for _ in range(2):
        frames = cached(Counting(), TEXTS, method="frames", cache_dir=tmp_path)
        assert [frame.shape for frame in frames] == [(3, 3), (5, 3), (8, 3)]
    assert cached(Counting(), [], method="frames", cache_dir=tmp_path) == []


def compute(folder, results):
    encoder = Counting(delay=0.2)
    cached_encode(encoder, TEXTS, cache_dir=folder)
    results.put(encoder.asked)


def test_two_processes_compute_once(tmp_path):
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    results = context.Queue()
    processes = [context.Process(target=compute, args=(tmp_path, results)) for _ in range(2)]
    for process in processes:
        process.start()
    asked = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(asked) == [0, 3]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="XMR_CACHE"):
        got = cached_encode(Counting(), TEXTS, cache_dir=tmp_path / "file" / "cache")
    assert_array_equal(got, Counting().encode(TEXTS))


def test_a_cache_that_cannot_be_locked_is_still_read(tmp_path):
    want = cached_encode(Counting(), TEXTS, cache_dir=tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    lock.mkdir()  # stands in the way of the lock, for root too
    assert_array_equal(cached_encode(Counting(fail_at="one"), TEXTS, cache_dir=tmp_path), want)


def test_info_clear_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("XMR_CACHE", str(tmp_path / "here"))
    assert cache_info() == [] and clear_cache() == 0
    cached_encode(Counting(), TEXTS)
    (row,) = cache_info()
    assert (row["encoder"], row["method"], row["items"]) == ("Counting", "encode", "3")
    assert clear_cache() == 1
    assert {path.suffix for path in (tmp_path / "here").iterdir()} == {".lock"}  # another process may hold one
