"""Alignments against closed forms, skada and POT; and what bad input does."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose

from xmr_lab.transfer import CORAL, DomainCentering, OptimalTransport

ALIGNMENTS = [DomainCentering(), CORAL(0.1), OptimalTransport(0.1)]


@pytest.fixture
def domains():
    """Two clouds of different place and shape (small for testing)."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(40, 3))
    target = rng.normal(size=(50, 3)) @ [[2, 1, 0], [0, 1, 0], [0, 0.5, 3]] + 4
    return source, target


def test_centring_leaves_both_domains_at_zero(domains):
    centering = DomainCentering().fit(*domains)
    for x, domain in zip(domains, ("source", "target"), strict=True):
        assert_allclose(centering.transform(x, domain=domain).mean(axis=0), 0, atol=1e-12)


def test_coral_gives_the_source_the_covariance_of_the_target(domains):
    source, target = domains
    coral = CORAL(regularization=0).fit(source, target)
    moved, centred = coral.transform(source), coral.transform(target, domain="target")
    assert_allclose(np.cov(moved.T), np.cov(target.T), atol=1e-10)
    assert_allclose(moved.mean(axis=0), centred.mean(axis=0), atol=1e-10)


def test_coral_with_one_domain_twice_only_centres(domains):
    source, _ = domains
    assert_allclose(CORAL(0.3).fit(source, source).transform(source), source - source.mean(axis=0), atol=1e-10)


@pytest.mark.parametrize("regularization", [0.1, 0.9])
def test_coral_equals_skada(domains, regularization):
    source, target = domains
    side = np.repeat([1, -2], [len(source), len(target)])
    with sklearn.config_context():  # skada changes scikit-learn's settings when imported
        adapt = pytest.importorskip("skada").CORALAdapter
        theirs = adapt(reg=regularization).fit_transform(np.vstack([source, target]), sample_domain=side)
    # skada divides covariances by n, we by n - 1: equal up to one factor
    factor = np.sqrt((len(target) / (len(target) - 1)) / (len(source) / (len(source) - 1)))
    ours = CORAL(regularization).fit(source, target)
    assert_allclose(ours.transform(source), factor * theirs[side > 0], rtol=1e-6)
    assert_allclose(ours.transform(target, domain="target"), theirs[side < 0], atol=1e-10)


def test_coral_says_what_to_do_where_the_source_cannot_be_whitened(domains):
    source, target = domains
    with pytest.raises(ValueError, match="larger regularization, or reduce the columns"):
        CORAL(regularization=0).fit(source[:3], target)
    assert np.isfinite(CORAL(0.1).fit(source[:3], target).transform(source)).all()


def test_exact_transport_equals_pot(domains):
    import ot

    source, target = domains
    theirs = ot.da.EMDTransport(norm="max").fit(Xs=source, Xt=target)
    ours = OptimalTransport(regularization=0).fit(source, target)
    assert_allclose(ours.plan_, theirs.coupling_, atol=1e-12)
    assert_allclose(ours.transform(source), theirs.transform(Xs=source), atol=1e-10)


def test_sinkhorn_equals_pot_also_for_new_rows(domains):
    import ot

    source, target = domains
    unit_cost = ot.dist(source, target).mean()
    # without a class that takes the mean cost as its unit, the regularisation carries it
    theirs = ot.da.SinkhornTransport(reg_e=0.1 * unit_cost, out_of_sample_map="ferradans", max_iter=5000)
    theirs.fit(Xs=source, Xt=target)
    ours = OptimalTransport(0.1).fit(source, target)
    new = source[:5] + 0.01
    assert_allclose(ours.transform(source), theirs.transform(Xs=source), atol=1e-3)
    assert_allclose(ours.transform(new), theirs.transform(Xs=new), atol=1e-3)


def test_transport_plan_has_the_right_marginals_and_undoes_a_permutation(domains):
    source, target = domains
    plan = OptimalTransport(0.05).fit(source, target).plan_
    assert_allclose(plan.sum(axis=0), 1 / 50, atol=1e-5)
    assert_allclose(plan.sum(axis=1), 1 / 40, atol=1e-5)
    shuffled = (source + 100)[np.random.default_rng(1).permutation(40)]
    assert_allclose(OptimalTransport(0).fit(source, shuffled).transform(source), source + 100, atol=1e-9)


def test_strong_regularisation_moves_everything_to_the_mean(domains):
    source, target = domains
    moved = OptimalTransport(1000.0).fit(source, target).transform(source)
    assert_allclose(moved, np.tile(target.mean(axis=0), (40, 1)), atol=0.05)


@pytest.mark.parametrize("alignment", ALIGNMENTS, ids=lambda each: type(each).__name__)
def test_the_order_of_rows_does_not_matter(domains, alignment):
    source, target = domains
    straight = alignment.fit(source, target).transform(source)
    assert_allclose(alignment.fit(source[::-1], target[::-1]).transform(source), straight, atol=1e-4)


@pytest.mark.parametrize("alignment", ALIGNMENTS, ids=lambda each: type(each).__name__)
def test_bad_input_is_named(domains, alignment):
    source, target = domains
    broken = source.copy()
    broken[2, 0] = np.inf
    with pytest.raises(ValueError, match="source holds NaN or infinity in row 2"):
        alignment.fit(broken, target)
    with pytest.raises(ValueError, match="the same columns, got 2 and 3"):
        alignment.fit(source[:, :2], target)
    with pytest.raises(ValueError, match="at least two rows"):
        alignment.fit(source[:1], target)
    alignment.fit(source, target)
    with pytest.raises(ValueError, match="'source' or 'target', got 'drawing'"):
        alignment.transform(source, domain="drawing")
    with pytest.raises(ValueError, match="fitted with 3 columns, got 2"):
        alignment.transform(source[:, :2])
    with pytest.raises(RuntimeError, match="not fitted yet"):
        type(alignment)().transform(source)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 2"):
        CORAL(regularization=2)
    with pytest.raises(ValueError, match="0 or more, got -1"):
        OptimalTransport(regularization=-1)
