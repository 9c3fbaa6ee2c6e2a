"""What the notebooks work on passes the audit: the splits of Stamps, and the embeddings of its own features."""

import pandas as pd
import pytest

from xmr_lab.audit import Evidence, audit
from xmr_lab.data import load_stamps


@pytest.fixture(scope="module")
def items():
    table = load_stamps().table.reset_index(drop=True)
    # Items of one concept share their caption, so its concept stands for the caption.
    return pd.DataFrame({name: table[name] for name in ("id", "split", "group")}).assign(
        caption=table["concept"].astype(str)
    )


def test_the_splits_share_nothing(items):
    report = audit(Evidence(items=items, tuned_on=["validation"]))
    assert {"split-ids", "split-captions", "split-groups"} & set(report.made)
    assert report.ok, str(report)


def test_a_planted_leak_is_found(items):
    leaky = items.copy()
    first, last = (leaky.index[leaky["split"] == name][0] for name in ("train", "test"))
    leaky.loc[last, "caption"] = leaky.loc[first, "caption"]
    report = audit(Evidence(items=leaky))
    assert [found.check for found in report.findings] == ["split-captions"]
