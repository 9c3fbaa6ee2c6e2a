"""Relations: losses that see nothing but them, and a map that places items by them."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from xmr_lab.matching import RidgeMap
from xmr_lab.transfer import RelationMap, rkd_distance_loss, similarity_loss

LOSSES = pytest.mark.parametrize("loss", [similarity_loss, rkd_distance_loss])


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def tensor(rng, *shape):
    return torch.tensor(rng.normal(size=shape))


@LOSSES
def test_losses_are_zero_for_the_same_relations(rng, loss):
    """A rotated and scaled copy in a wider space has them; a shuffled one has not."""
    z = tensor(rng, 12, 5)
    rotation = torch.linalg.qr(tensor(rng, 8, 8))[0]
    copy = 3 * torch.nn.functional.pad(z, (0, 3)) @ rotation
    assert loss(copy, z).item() == pytest.approx(0, abs=1e-12)
    assert loss(z[torch.randperm(12, generator=torch.Generator().manual_seed(0))], z).item() > 1e-3


@LOSSES
def test_rotating_the_student_changes_no_loss(rng, loss):
    student, teacher = tensor(rng, 9, 4), tensor(rng, 9, 6)
    rotation = torch.linalg.qr(tensor(rng, 4, 4))[0]
    assert_allclose(loss(student @ rotation, teacher).item(), loss(student, teacher).item(), rtol=1e-9)


def test_losses_equal_the_loops(rng):
    student, teacher = tensor(rng, 6, 3), tensor(rng, 6, 4)
    s, t = student.numpy(), teacher.numpy()
    total = 0.0
    for i in range(6):
        rows = [np.array([z[i] @ z[j] for j in range(6)]) for z in (s, t)]
        total += sum((a - b) ** 2 for a, b in zip(*(row / np.linalg.norm(row) for row in rows), strict=True))
    assert_allclose(similarity_loss(student, teacher).item(), total / 36)
    pairs = [(i, j) for i in range(6) for j in range(i)]
    distances = [np.array([np.linalg.norm(z[i] - z[j]) for i, j in pairs]) for z in (s, t)]
    a, b = (d / d.mean() for d in distances)
    huber = [0.5 * e**2 if e < 1 else e - 0.5 for e in np.abs(a - b)]
    assert_allclose(rkd_distance_loss(student, teacher).item(), np.mean(huber))


@LOSSES
def test_a_student_can_follow_its_gradient(rng, loss):
    teacher = tensor(rng, 15, 6)
    student = tensor(rng, 15, 3).requires_grad_()
    start = loss(student, teacher).item()
    optimizer = torch.optim.Adam([student], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss(student, teacher).backward()
        optimizer.step()
    assert loss(student, teacher).item() < start / 2


@LOSSES
@pytest.mark.parametrize("shapes", [((3, 2), (4, 2)), ((3,), (3,)), ((1, 2), (1, 2))])
def test_losses_refuse_what_does_not_pair(loss, shapes):
    with pytest.raises(ValueError, match="same items, two at least"):
        loss(*(torch.ones(shape) for shape in shapes))


def test_distances_of_equal_rows_have_no_scale():
    with pytest.raises(ValueError, match="no scale"):
        rkd_distance_loss(torch.ones(4, 2), torch.eye(4))


def test_without_weight_it_is_the_ridge_map(rng):
    x, y, new = rng.normal(size=(30, 8)), rng.normal(size=(30, 5)), rng.normal(size=(20, 8))
    ours = RelationMap(0.1, weight=0).fit(x, y, unpaired=new)
    assert_allclose(ours.weights_, RidgeMap(0.1).fit(x, y).weights_, atol=1e-10)


def test_a_new_item_is_placed_at_its_twin(rng):
    """Views that differ by a rotation have the same relations: each unpaired item then lies where its partner does."""
    x = rng.normal(size=(200, 6))
    x -= x.mean(axis=0)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    y = x @ rotation
    new = np.vstack([x[:20], -x[:20]])  # mean 0, so that the centres agree
    placed = RelationMap(0.1, softness=1e-9).fit(x, y, unpaired=new).placed_
    cosines = (placed * (new @ rotation)).sum(axis=1) / np.linalg.norm(placed, axis=1) / np.linalg.norm(new, axis=1)
    assert_allclose(cosines, 1, atol=1e-5)


def test_rotating_a_teacher_changes_nothing_and_an_absent_one_is_the_first_view(rng):
    x, y, new = rng.normal(size=(30, 8)), rng.normal(size=(30, 5)), rng.normal(size=(20, 8))
    rotation = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    maps = [
        RelationMap(0.1).fit(x, y, unpaired=new, teacher=teacher).weights_
        for teacher in (None, (x, new), (2 * x @ rotation, 2 * new @ rotation))
    ]
    assert_allclose(maps[1], maps[0])
    assert_allclose(maps[2], maps[0], atol=1e-6)


def test_unpaired_items_help_where_pairs_are_few_and_relations_hold(rng):
    """The student sees a noisy view, the teacher a clean one (small for testing)."""
    hidden = rng.normal(size=(300, 6))
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    x, y = np.hstack([hidden, rng.normal(size=(300, 20))]), hidden @ rotation
    few, new, test = slice(0, 15), slice(15, 200), slice(200, 300)

    def error(matcher):
        return -(matcher.transform(x[test]) * matcher.transform(y[test], 1)).sum(axis=1).mean()

    teacher = hidden[few], hidden[new]
    with_help = RelationMap(0.01, weight=1.0, softness=1e-3).fit(x[few], y[few], unpaired=x[new], teacher=teacher)
    assert error(with_help) < error(RidgeMap(0.01).fit(x[few], y[few])) - 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unpaired": np.ones((4, 3))}, "8 columns; got 3"),
        ({"unpaired": np.ones((4, 8)), "teacher": (np.ones((9, 2)), np.ones((4, 2)))}, "paired row by row"),
        ({"unpaired": np.ones((4, 8)), "teacher": (np.ones((10, 2)), np.ones((5, 2)))}, "paired row by row"),
        ({"unpaired": np.ones((4, 8)), "teacher": (np.ones((10, 2)), np.ones((4, 3)))}, "2 columns; got 3"),
        ({"unpaired": np.full((4, 8), np.nan)}, "NaN"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(rng, options, message):
    with pytest.raises(ValueError, match=message):
        RelationMap().fit(rng.normal(size=(10, 8)), rng.normal(size=(10, 5)), **options)


def test_arguments_out_of_range_are_refused():
    for wrong in ({"alpha": 0}, {"weight": -1}, {"softness": 0}):
        with pytest.raises(ValueError, match=r"alpha must|need weight"):
            RelationMap(**wrong)
