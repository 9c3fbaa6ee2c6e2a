"""Notebook 15 on folders that a reader brings: to its end, with what does not apply said; and its hub tier."""

import pytest
from brought import bring, kernel, printed
from hub_models import build

from xmr_lab.data import load_stamps
from xmr_lab.notebooks import find_notebooks, read

OWN = "ResNet and WaveNet, concatenation, fully connected"
RESNET = "hub:tiny/resnet@one"


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Runs the notebook in a kernel that finds an untrained ResNet of the hub in a mirror (small for testing)."""
    folder = tmp_path_factory.mktemp("kernel")
    build("resnet", folder / "hub" / "tiny" / "resnet" / "one")
    with kernel(folder / "trials.parquet", XMR_HUB_DIR=str(folder / "hub")) as running:
        yield lambda **values: running.run("15", **values)


def test_tier_hub_trains_the_documents_resnet_and_wavenet(tmp_path, stamps, notebook):
    folder = bring(tmp_path / "mine", stamps, ["image", "text", "audio_es", "audio_ca"], 60)
    text = notebook(collection=str(folder), seeds=2, tier="hub", hub_image=RESNET)
    rows = [line for line in text.splitlines() if line.startswith(f"{OWN} ")]
    assert RESNET in text and rows and all("[" in row for row in rows)  # both directions, with intervals
    assert "all four" in text and "mean over choices" in text and "kernel ridge, graph and direct" in text
    assert "6 · Other languages does not apply here: it needs target clips (20 at least, found 0)" in text


def test_by_default_it_says_that_the_documents_own_was_not_run():
    assert f"{OWN}: not run here" in printed(read(find_notebooks()["15"]))


def test_pictures_and_sound_effects_without_any_caption(tmp_path, stamps, notebook):
    text = notebook(collection=str(bring(tmp_path / "mine", stamps, ["image", "audio"], 80)))
    assert "2 · Speech and pictures does not apply here: it needs training clips (20 at least, found 0)" in text
    assert "Where the captions lie does not apply here: it needs captions (20 at least, found 0)" in text
    assert "settings tried; best: (" in text and "direct, same features" in text and "pivot, same features" not in text


def test_speech_and_sentences_without_any_picture(tmp_path, stamps, notebook):
    text = notebook(collection=str(bring(tmp_path / "mine", stamps, ["text", "audio_es", "audio_ca"], 60)))
    assert "2 · Speech and pictures does not apply here: it needs pictures (20 at least, found 0)" in text
    assert "new queries, old index (the document)" in text and "es → ca, hit rate @10" in text


def test_broken_files_stop_it_with_a_list_or_are_left_out_with_their_reasons(tmp_path, stamps, notebook):
    folder = bring(tmp_path / "mine", stamps, ["image", "audio"], 5)
    sound = next(folder.glob("*.wav"))
    sound.write_bytes(b"no sound")
    with pytest.raises(AssertionError, match="1 file of 'mine' cannot be used"):
        notebook(collection=str(folder))
    text = notebook(collection=str(folder), skip_broken=True)
    assert f"left out: audio '{sound.name}'" in text
    assert (
        "5 · Sound effects does not apply here: it needs pictures (20 at least, found 5), training sounds (40" in text
    )
