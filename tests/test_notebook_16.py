"""Notebook 16 on folders that a reader brings: it runs to its end and says which parts do not apply."""

import pytest
from brought import bring, kernel, printed

from xmr_lab.data import load_stamps
from xmr_lab.notebooks import find_notebooks, read


@pytest.fixture(scope="module")
def stamps():
    return load_stamps()


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    with kernel(tmp_path_factory.mktemp("kernel") / "trials.parquet") as running:
        yield lambda **values: running.run("16", **values)


def queries(text, count):
    """The table of part 10, in which an item asks by each of its modalities and by all."""
    return text.partition(f"asks among {count} items")[2].partition("Exercises")[0]


def test_a_small_folder_with_all_three_gets_every_part_that_it_is_large_enough_for(tmp_path, stamps, notebook):
    folder = bring(tmp_path / "mine", stamps, ["image", "text", "audio_es"], 80)
    text = notebook(collection=str(folder), draws=2)
    assert "3 · The classifier does not apply here: it needs training categories (2 at least, found 1)" in text
    assert "4 · Missing modalities does not apply here: it needs training triples (200 at least" in text
    for shown in (
        "1 preprocessing",
        "never paired: text, speech",
        "picture + speech → text",
        "three modalities beat two",
    ):
        assert shown in text
    assert "text + picture + speech " in queries(text, 80)


@pytest.mark.parametrize(
    ("columns", "asked"),
    [
        (["image"], ["picture"]),
        (["image", "text"], ["text", "picture", "text + picture"]),
        (["text", "audio"], ["text", "sound", "text + sound"]),
        (["image", "audio_es"], ["picture", "speech", "picture + speech"]),
    ],
)
def test_with_fewer_modalities_it_says_so_and_lets_the_folder_be_asked(tmp_path, stamps, notebook, columns, asked):
    text = notebook(collection=str(bring(tmp_path / "mine", stamps, columns, 5)))
    for part in ("2 · Six steps", "3 · The classifier", "7 · A second modality"):
        assert f"{part} does not apply here: it needs training triples (40 at least, found 0)" in text
    assert "right: [1, 2]" in text  # what needs no collection is shown
    assert all(f"\n{query} " in queries(text, 5) for query in asked)


def test_speech_in_a_language_that_nothing_is_known_of(tmp_path, stamps, notebook):
    folder = bring(tmp_path / "mine", stamps, ["audio_es"], 5)
    table = folder / "metadata.csv"
    table.write_text(table.read_text("utf-8").replace("audio_es", "audio_sw", 1), "utf-8")
    assert "speech is understood in the languages of Stamps only" in notebook(collection=str(folder))


def test_broken_files_stop_it_with_a_list_or_are_left_out_with_their_reasons(tmp_path, stamps, notebook):
    folder = bring(tmp_path / "mine", stamps, ["text", "audio_es"], 5)
    next(folder.glob("*.wav")).write_bytes(b"no sound")
    with pytest.raises(AssertionError, match="1 file of 'mine' cannot be used"):
        notebook(collection=str(folder))
    text = notebook(collection=str(folder), skip_broken=True)
    assert "left out: audio_es" in text and "is not a sound" in text
    assert "text + speech " in queries(text, 5)


def test_the_committed_notebook_shows_its_solutions_and_every_step_with_its_time():
    text = printed(read(find_notebooks()["16"]))
    for step in ("1 preprocessing", "2 features", "3 fusion", "4 training", "5 search", "6 evaluation"):
        assert f"\n{step} " in text
    assert "plain sum" in text and "(0.2, " in text
