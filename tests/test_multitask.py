"""Multi-task towers: without weight they are the plain towers; with it they also tell what they were asked."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from xmr_lab.matching import TwoTower
from xmr_lab.transfer import MultiTaskTowers, Task

SMALL = {"dim": 8, "epochs": 5, "batch_size": 32}  # small for testing


@pytest.fixture
def data():
    """Two noisy views of six hidden numbers; the signs of two of these are labels."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(120, 6))
    x, y = (hidden @ rng.normal(size=(6, d)) + 0.3 * rng.normal(size=(120, d)) for d in (20, 12))
    return x, y, np.where(hidden[:, 0] > 0, "plus", "minus")


def test_without_weight_it_is_the_plain_two_tower(data):
    x, y, label = data
    concepts = np.arange(120) // 2
    plain = TwoTower(**SMALL, seed=3).fit(x, y, concepts=concepts)
    ours = MultiTaskTowers([Task(label, weight=0.0)], **SMALL, seed=3).fit(x, y, concepts=concepts)
    for view, rows in enumerate((x, y)):
        assert_array_equal(ours.transform(rows, view), plain.transform(rows, view))
    assert [epoch["matching"] for epoch in ours.history_] == [epoch["loss"] for epoch in plain.history_]


def test_no_task_at_all_is_the_plain_two_tower_too(data):
    x, y, _ = data
    assert_array_equal(MultiTaskTowers([], **SMALL).fit(x, y).transform(x), TwoTower(**SMALL).fit(x, y).transform(x))


def tell(towers, rows, view):
    with torch.no_grad():
        return towers.classes_[0][towers.heads_[0](torch.as_tensor(towers.transform(rows, view))).argmax(dim=1).numpy()]


def test_a_head_learns_to_tell_labels_of_items_it_has_not_seen(data):
    x, y, label = data
    options = {**SMALL, "epochs": 40, "learning_rate": 0.01}
    towers = MultiTaskTowers([Task(label[:90], weight=1.0)], **options).fit(x[:90], y[:90])
    for view, rows in enumerate((x, y)):
        assert (tell(towers, rows[90:], view) == label[90:]).mean() > 0.75  # chance is 0.5


def test_a_head_for_one_view_learns_what_only_that_view_shows(data):
    """Like the language of a spoken caption, which no picture and no English sentence tells."""
    x, y, _ = data
    language = np.random.default_rng(1).integers(0, 2, size=120)
    x = np.hstack([x, 5 * (language[:, None] - 0.5)])
    options = {**SMALL, "epochs": 40, "learning_rate": 0.01}
    towers = MultiTaskTowers([Task(language[:90], weight=1.0, views=(0,))], **options).fit(x[:90], y[:90])
    assert (tell(towers, x[90:], 0) == language[90:]).mean() > 0.9
    assert (tell(towers, y[90:], 1) == language[90:]).mean() < 0.75


@pytest.mark.parametrize("views", [(0,), (0, 1)])
def test_the_loss_is_the_sum_it_says(data, views):
    """Before its first step a head knows nothing: its cross-entropy is the logarithm of the number of labels."""
    x, y, label = data
    options = {**SMALL, "epochs": 1, "batch_size": 120}
    epoch = MultiTaskTowers([Task(label, weight=0.7, views=views)], **options).fit(x, y).history_[0]
    assert epoch["loss"] - epoch["matching"] == pytest.approx(0.7 * np.log(2), abs=1e-5)


def test_it_is_repeatable_and_leaves_global_randomness_alone(data):
    x, y, label = data
    state = torch.get_rng_state()
    a, b = (MultiTaskTowers([Task(label)], **SMALL, seed=1).fit(x, y).transform(x) for _ in range(2))
    assert_array_equal(a, b)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("options", [{"weight": -1}, {"weight": np.nan}, {"views": ()}, {"views": (2,)}])
def test_a_task_refuses_bad_arguments(options):
    with pytest.raises(ValueError, match="finite weight"):
        Task(np.zeros(3), **options)


def test_labels_must_fit_the_pairs(data):
    x, y, label = data
    with pytest.raises(ValueError, match=r"120 pairs, got \(119,\)"):
        MultiTaskTowers([Task(label[:-1])], **SMALL).fit(x, y)
    with pytest.raises(ValueError, match="120 pairs"):
        MultiTaskTowers([Task(label)], **SMALL).fit(x, y, concepts=np.arange(3))
    with pytest.raises(ValueError, match="NaN"):
        MultiTaskTowers([Task(label)], **SMALL).fit(np.full_like(x, np.nan), y)
