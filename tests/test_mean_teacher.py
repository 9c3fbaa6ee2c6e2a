"""The mean teacher: its average against the closed form, its student against plain training, its randomness."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.nn import functional as F

from xmr_lab.matching import info_nce
from xmr_lab.transfer import MeanTeacher, update_average

SMALL = {"steps": 20, "batch_size": 16}  # small for testing


@pytest.fixture
def data():
    """Ten pairs and forty unpaired items a side, of two linear images of the same three numbers."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(50, 3))
    x, y = hidden @ rng.normal(size=(3, 8)), hidden @ rng.normal(size=(3, 6))
    order = rng.permutation(np.arange(10, 50))
    return x[:10], y[:10], x[10:], y[order]


def test_the_average_equals_its_closed_form():
    """After t steps: d^t of the start and (1 - d) d^(t - s) of each later state s."""
    d, states = 0.9, torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0))
    student, teacher = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)
    teacher.weight.data = states[0].clone()
    for state in states[1:]:
        student.weight.data = state
        update_average(teacher, student, d)
    t = len(states) - 1
    want = d**t * states[0] + sum((1 - d) * d ** (t - s) * states[s] for s in range(1, t + 1))
    assert_allclose(teacher.weight.detach(), want, atol=1e-6)


def test_weight_zero_is_plain_training(data):
    """The student's weights are those of a training loop written out here, which never sees an unpaired item's role."""
    x, y, u, v = data
    got = MeanTeacher(weight=0, **SMALL).fit(x, y, unpaired_x=u, unpaired_y=v)
    everything = np.concatenate([x, u])
    means = everything.mean(axis=0), np.concatenate([y, v]).mean(axis=0)
    scale = np.sqrt(everything.var(axis=0).mean())
    a = torch.tensor((x - means[0]) / scale, dtype=torch.float32)
    b = F.normalize(torch.tensor(y - means[1], dtype=torch.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = nn.Linear(8, 6)
        optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-3, weight_decay=0.1)
        for _ in range(20):
            rows = torch.randperm(10)
            loss = info_nce(F.normalize(tower(F.dropout(a[rows], 0.3)), dim=-1), b[rows], 0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_allclose(got.student_.weight.detach(), tower.weight.detach(), atol=1e-6)


def test_without_unpaired_items_the_weight_does_not_matter(data):
    x, y, u, _ = data
    a, b = (MeanTeacher(weight=weight, **SMALL).fit(x, y).transform(u) for weight in (0.0, 50.0))
    assert_array_equal(a, b)


def test_without_averaging_the_teacher_is_the_student(data):
    x, y, u, v = data
    model = MeanTeacher(decay=0, **SMALL).fit(x, y, unpaired_x=u, unpaired_y=v)
    assert_allclose(model.teacher_.weight, model.student_.weight.detach(), atol=1e-7)


def test_consistency_makes_predictions_agree(data):
    """With the consistency weighted, student and teacher disagree less at the end than without its gradient."""
    x, y, u, v = data
    tiny, large = (
        MeanTeacher(weight=weight, steps=150).fit(x, y, unpaired_x=u, unpaired_y=v).history_[-1]["disagreement"]
        for weight in (1e-9, 30.0)
    )
    assert large < 0.7 * tiny


def test_same_seed_same_result_and_nobody_elses_randomness_touched(data):
    x, y, u, v = data
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    runs = [MeanTeacher(seed=seed, **SMALL).fit(x, y, unpaired_x=u, unpaired_y=v).transform(u) for seed in (0, 0, 1)]
    assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-3
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("side", ["unpaired_x", "unpaired_y"])
def test_one_side_is_enough(data, side):
    x, y, u, v = data
    model = MeanTeacher(**SMALL).fit(x, y, **{side: u if side == "unpaired_x" else v})
    assert np.isfinite(model.transform(u)).all() and "disagreement" in model.history_[-1]
    assert_allclose(np.linalg.norm(model.transform(v, view=1), axis=1), 1, atol=1e-5)


BAD = {
    "negative weight": lambda: MeanTeacher(weight=-1),
    "decay 1": lambda: MeanTeacher(decay=1),
    "dropout 1": lambda: MeanTeacher(dropout=1),
    "no temperature": lambda: MeanTeacher(temperature=0),
    "batch of one": lambda: MeanTeacher(batch_size=1),
    "no steps": lambda: MeanTeacher(steps=0),
    "not paired": lambda: MeanTeacher().fit(np.eye(3), np.eye(4)),
    "one pair": lambda: MeanTeacher().fit(np.ones((1, 2)), np.ones((1, 2))),
    "NaN": lambda: MeanTeacher().fit(np.eye(3), np.eye(3), unpaired_x=np.full((4, 3), np.nan)),
    "wrong width": lambda: MeanTeacher().fit(np.eye(3), np.eye(3), unpaired_y=np.ones((4, 2))),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_ends_in_a_clear_error(name):
    with pytest.raises(ValueError, match=r"got|must|holds|need"):
        BAD[name]()


def test_transform_before_fit_says_so():
    with pytest.raises(RuntimeError, match="not fitted"):
        MeanTeacher().transform(np.ones((2, 2)))
