"""Notebooks 18 and A1: what they read of others is there, prose says what outputs show, terms have a glossary."""

import re

import numpy as np
import pytest
import torch
from scipy.stats import betabinom, binom

from xmr_lab.notebooks import ROOT, find_notebooks, read
from xmr_lab.report import effects_of, records_of
from xmr_lab.runner import describe_parameters

GLOSSARY = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^(\S[^\n·]* · \S.*)$", GLOSSARY, re.MULTILINE)
NUMBER = r"(?<![\w.])\d+\.\d+(?![\w.]*\d)"
# what other people measured, and numbers of versions
QUOTED = {
    "18": {"34.7", "0.8", "2.0"},  # Buolamwini & Gebru 2018; wav2vec 2.0
    "A1": {"1.28", "8.5", "0.13", "1.0", "2.0", "2.1", "4.0"},  # ImageNet's millions; Chun et al. 2022; versions
}


def text_of(cell) -> str:
    """All that a cell shows as text."""
    data = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    html = [output.get("data", {}).get("text/html", "") for output in cell.get("outputs", [])]
    return "\n".join(data + [re.sub(r"<[^>]+>", " ", page) for page in html])


@pytest.fixture(scope="module")
def cells():
    return {number: read(find_notebooks()[number]).cells for number in ("18", "A1")}


@pytest.mark.parametrize("number", ["18", "A1"])
def test_each_number_of_the_prose_stands_in_an_output_above(cells, number):
    """If another notebook's numbers change, 18 reads the new ones, and this says which sentence to look at."""
    above, unfounded = "", []
    for cell in cells[number]:
        above += text_of(cell)
        if cell.cell_type != "markdown":
            continue
        shown = np.array([float(found) for found in re.findall(r"\d+\.\d+", above)] or [np.inf])
        prose = re.sub(r"\$[^$]*\$|`[^`]*`|\]\([^)]*\)|\d+\.\d{4,}", "", cell.source)
        for found in re.findall(NUMBER, prose):
            digits = len(found.split(".")[1])
            if found not in QUOTED[number] and np.abs(shown - float(found)).min() > 0.5001 * 10**-digits:
                unfounded.append((found, prose[max(0, prose.find(found) - 60) : prose.find(found) + 20]))
    assert not unfounded


def test_every_number_of_the_summary_was_found(cells):
    printed = "\n".join(map(text_of, cells["18"]))
    assert "left out" not in printed and "same map: True" in printed and "same search: True" in printed


def test_the_headline_is_what_the_other_notebook_records(cells):
    records = records_of(read(find_notebooks()["14"]))
    value = records["hit rate @10, strongest recipe, sentence to picture"]["value"]
    printed = "\n".join(map(text_of, cells["18"]))
    row = next(line for line in printed.splitlines() if line.startswith("sentence → picture"))
    assert f"{value:.2f}" in row.split()


def test_the_tally_is_of_all_notebooks(cells):
    found = [each for n, path in find_notebooks().items() if n not in ("18", "A1") for each in effects_of(read(path))]
    counts = [sum(each["verdict"] == kind for each in found) for kind in ("shown", "open", "reversed")]
    printed = "\n".join(map(text_of, cells["18"]))
    row = next(line for line in printed.splitlines() if line.startswith("all notebooks"))
    told = [int(float(word)) for word in row.split()[2:]]
    assert told == counts, "another notebook changed: run `python3 lab.py refresh 18`, then read its prose"
    assert 0.4 < counts[1] / sum(counts) < 0.6 and counts[2] / sum(counts) < 0.1, "about half open, few reversed"


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


@pytest.mark.parametrize("number", find_notebooks())
def test_each_notebook_links_to_the_glossary(number):
    path = find_notebooks()[number]
    (target,) = set(re.findall(r"\]\((\S*glossary\S*)\)", read(path).cells[0].source))
    assert (path.parent / target).samefile(ROOT / "book" / "glossary.md")


def test_glossary_terms_are_bilingual_in_order_and_explained():
    names = [term.split(" · ")[0].casefold() for term in TERMS]
    assert names == sorted(set(names)) and len(names) > 150
    assert all(re.search(r"[\u4e00-\u9fff]", term) for term in TERMS)
    blocks = GLOSSARY.split(":::{glossary}\n")[1].removesuffix(":::\n").strip().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == TERMS
    assert all(line.startswith("  ") for block in blocks for line in block.splitlines()[1:])


def test_glossary_references_lead_somewhere():
    text = re.sub(r"\s+", " ", GLOSSARY)
    targets = [found.rsplit("<", 1)[-1].rstrip(">") for found in re.findall(r"\{term\}`([^`]+)`", text)]
    wanted = {target.casefold() for target in targets}
    assert wanted <= {term.casefold() for term in TERMS}
