"""Notebooks 18 and A1: what they read of other notebooks is there, and what they state can be checked."""

import numpy as np
import pytest
import torch
from scipy.stats import betabinom, binom

from xmr_lab.notebooks import find_notebooks, read
from xmr_lab.report import records_of
from xmr_lab.runner import describe_parameters


@pytest.fixture(scope="module")
def printed():
    """All that the committed notebook 18 shows as text."""
    outputs = [output for cell in read(find_notebooks()["18"]).cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def test_every_number_of_the_summary_was_found(printed):
    assert "left out" not in printed and "same map: True" in printed and "same search: True" in printed


def test_the_headline_is_what_the_other_notebook_records(printed):
    records = records_of(read(find_notebooks()["14"]))
    value = records["hit rate @10, strongest recipe, sentence to picture"]["value"]
    (row,) = [line for line in printed.splitlines() if line.startswith("sentence → picture")]
    assert f"{value:.2f}" in row.split()


def test_uncertain_shares_extrapolate_to_less():
    """With p unknown, a large gallery hides more than with p as counted; with much seen the two agree."""
    a = np.random.default_rng(0).integers(0, 3, size=50)
    plug_in, uncertain = binom.cdf(9, 10**6, a / 197), betabinom.cdf(9, 10**6, a + 0.5, 197 - a + 0.5)
    assert plug_in.mean() > uncertain.mean()
    many = 10**6
    assert binom.cdf(9, 100, 0.05) == pytest.approx(betabinom.cdf(9, 100, 0.05 * many, 0.95 * many), abs=1e-3)


def test_a_second_softmax_bounds_the_loss():
    certain = torch.tensor([[1.0] + [0.0] * 15])
    loss = torch.nn.functional.cross_entropy(certain, torch.tensor([0]))
    assert loss.item() == pytest.approx(np.log(np.e + 15) - 1, abs=1e-5)


def test_the_appendix_is_found_by_its_number():
    assert find_notebooks()["A1"].stem == "A1_frameworks_and_data_sets"
    assert "epochs: int = 60" in describe_parameters("A1")
