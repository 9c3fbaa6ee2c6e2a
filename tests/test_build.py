"""The build of Stamps: on a small package of the same form, it is repeatable and says what it needs."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from xmr_lab.data import load_stamps
from xmr_lab.data.build import build_stamps
from xmr_lab.data.stamps import verify


@pytest.fixture
def unpacked(tmp_path):
    """Twelve stamps with noise for pictures and sounds (small for testing)."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "usr" / "share" / "stamps" / "animals"
    (folder / "cartoon").mkdir(parents=True)
    for i in range(12):
        stem = folder / ("cartoon" if i % 3 == 0 else "") / f"beast.{i}"
        Image.fromarray(rng.integers(0, 255, (300, 100, 4), dtype=np.uint8)).save(f"{stem}.png")
        lines = [f"Beast {i // 2}.", f"es.utf8=Bestia {i // 2}.", "nl.utf8=", "no line of a caption"]
        stem.with_name(stem.name + ".txt").write_text("\n".join(lines), "utf-8")
        for ending, rate in {".ogg": 22_050, "_desc_es.ogg": 44_100}.items():
            noise = 0.1 * rng.normal(size=(rate // 2, 2))
            soundfile.write(f"{stem}{ending}", noise, rate, format="OGG", subtype="VORBIS")
    (folder / "no_picture.txt").write_text("Left out.", "utf-8")
    return tmp_path


def test_two_builds_are_the_same_byte_for_byte(unpacked, tmp_path):
    first, second = (build_stamps(unpacked, tmp_path / name / "stamps") for name in ("a", "b"))
    assert (first / "SHA256SUMS").read_bytes() == (second / "SHA256SUMS").read_bytes()
    assert "items.parquet" in verify(first) and "speech_es.parquet" in verify(first)


def test_a_build_has_the_form_that_stamps_has(unpacked, tmp_path):
    built = load_stamps(build_stamps(unpacked, tmp_path / "built"))
    assert (len(built), len(built.sounds), len(built.speech("es")), len(built.speech("nl"))) == (12, 12, 12, 0)
    assert max(built.images[0].size) == 224 and built.speech("es")[0].rate == 16_000
    assert abs(built.sounds[0].seconds - 0.5) < 0.01
    assert dict(built.table["domain"].value_counts()) == {"photograph": 8, "drawing": 4}
    assert built.table.groupby("concept")["group"].nunique().max() == 1  # same caption, same group


def test_an_old_collection_is_replaced_whole(unpacked, tmp_path):
    (tmp_path / "built").mkdir()
    for name in ("SHA256SUMS", "left_over.parquet"):
        (tmp_path / "built" / name).write_bytes(b"old")
    assert not (build_stamps(unpacked, tmp_path / "built") / "left_over.parquet").exists()
    assert not list(tmp_path.glob("tmp*"))


def test_a_folder_that_holds_something_else_is_not_replaced(unpacked, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(FileExistsError, match="holds no collection"):
        build_stamps(unpacked, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_folder_without_stamps_says_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"unpacked Debian package.*dpkg-deb"):
        build_stamps(tmp_path, tmp_path / "built")
