"""The audit: every planted defect is found, and clean experiments are left in peace."""

import json

import numpy as np
import pandas as pd
import pytest

from xmr_lab.audit import CHECKS, Evidence, audit, f1_verdict, read_evidence
from xmr_lab.cli import main


def views(n=120, d=24, noise=0.7, seed=0):
    """Two noisy views of the same items, rows of length 1."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, d))
    sides = [hidden + noise * rng.normal(size=(n, d)) for _ in range(2)]
    return [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]


def spaced(**changes):
    queries, gallery = views()
    about = {"queries": queries, "gallery": gallery, "similarity": "cosine", "relevant": np.eye(120, dtype=bool)}
    return Evidence(**{**about, **changes})


def scored(**changes):
    queries, gallery = views()
    return Evidence(**{"scores": queries @ gallery.T, "relevant": np.eye(120, dtype=bool), **changes})


def stock(**changes):
    """Items in three splits, nothing shared."""
    n = 90
    table = pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(n)],
            "split": np.repeat(["train", "validation", "test"], n // 3),
            "group": [f"g{i // 2}" for i in range(n)],
            "caption": [f"Item number {i}." for i in range(n)],
            "fingerprint": [f"{i:08x}" for i in range(n)],
        }
    )
    return table.assign(**changes)


def put(table, row, column, value):
    table = table.copy()
    table.loc[row, column] = value
    return table


def trials(gain=0.2, seeds=10, n=200, spread=0.05):
    rng = np.random.default_rng(1)
    ease = rng.random(n)
    rows = []
    for system, plus in (("new", gain), ("old", 0.0)):
        for seed in range(seeds):
            value = np.clip(ease + plus + spread * rng.normal(size=n), 0, 2)
            rows.append(pd.DataFrame({"system": system, "seed": seed, "query": np.arange(n), "value": value}))
    return pd.concat(rows, ignore_index=True)


def classes(seed=0, spread=0.0):
    """Retrieval of the same class, ten classes: items of a class are all alike."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(10), 20)
    centre = rng.normal(size=(10, 16))
    x, y = (centre[label] + 0.5 * rng.normal(size=(200, 16)) for _ in range(2))
    return Evidence(queries=x, gallery=y, similarity="cosine", relevant=(label, label))


def nan_in(matrix):
    matrix = matrix.copy()
    matrix[3, 2] = np.nan
    return matrix


def zero_in(matrix):
    matrix = matrix.copy()
    matrix[5] = 0
    return matrix


def hub_in(matrix):
    matrix = matrix.copy()
    matrix[:, 7] = matrix.max() - 0.01
    return matrix


x, y = views()
three = np.arange(120) // 3  # three captions each: recall and hit rate differ
TABLE = {"model": ["a", "b"], "R@1": ["0.31", "0.40"], "R@5": ["0.62", "0.71"], "R@10": ["0.74", "0.80"]}
F1 = {"model": ["a", "b"], "precision": ["0.90", "0.80"], "recall": ["0.85", "0.75"], "F1": ["0.87", "0.77"]}


DEFECTS = {
    "split-ids": lambda: Evidence(items=put(stock(), 80, "id", "i3")),
    "split-captions": lambda: Evidence(items=put(stock(), 80, "caption", "item  number 3")),
    "split-groups": lambda: Evidence(items=put(stock(), 80, "group", "g1")),
    "split-speakers": lambda: Evidence(items=stock(speaker="Ana")),
    "split-fingerprints": lambda: Evidence(items=put(stock(), 80, "fingerprint", f"{3:08x}")),
    "split-near-duplicates": lambda: Evidence(items=stock(), features=np.vstack([x[:80], x[:1] * 2, x[81:90]])),
    "bank-of-test-queries": lambda: Evidence(bank_ids=["a", "b"], query_ids=["b", "c"]),
    "tuned-on-test": lambda: Evidence(tuned_on=["validation", "test"]),
    "not-finite": lambda: spaced(queries=nan_in(x)),
    "not-finite, scores": lambda: scored(scores=nan_in(x @ y.T)),
    "zero-rows": lambda: spaced(gallery=zero_in(y)),
    "different-spaces": lambda: spaced(gallery=y[:, :20]),
    "collapsed": lambda: spaced(gallery=1 + 1e-4 * y),
    "collapsed, on a line": lambda: spaced(queries=np.outer(x[:, 0], np.ones(24)) + 1e-4 * x),
    "copied-rows": lambda: spaced(gallery=np.vstack([y[:60], np.repeat(y[:1], 60, axis=0)])),
    "lengths-decide": lambda: spaced(gallery=y * np.linspace(0.2, 5, 120)[:, None], similarity=None),
    "modality-gap": lambda: spaced(queries=x + 1, gallery=y - 1),
    "perfect-correlations": lambda: Evidence(train=(x, x * np.linspace(1, 2, 24))),
    "unregularised-cca": lambda: Evidence(pairs=435, widths=(1280, 384), regularization=0.0),
    "swapped": lambda: scored(scores=(x @ y.T)[:, :100], relevant=np.eye(120, dtype=bool)[:100]),
    "swapped, by embeddings": lambda: scored(scores=y @ x.T, queries=x, gallery=y, similarity="cosine"),
    "shapes": lambda: scored(query_ids=["a"], gallery_ids=["b"]),
    "reversed-order": lambda: scored(scores=-(x @ y.T)),
    "chance": lambda: spaced(gallery=np.random.default_rng(5).permutation(y)),
    "ties-decide": lambda: scored(scores=np.zeros((120, 120))),
    "ties-decide, rounded": lambda: scored(scores=np.round(x @ y.T, 1)),
    "queries-without-answer": lambda: scored(relevant=[[i] if i % 3 else [] for i in range(120)]),
    "hub": lambda: scored(scores=hub_in(x @ y.T)),
    "labels-suffice": classes,
    "mislabelled-metric": lambda: scored(relevant=(three, three), reported={"recall@5": 0.0}),
    "figure-not-reproduced": lambda: scored(reported={"MRR": 0.123}),
    "claim-within-noise": lambda: Evidence(trials=trials(gain=0.0), claims=[("new", "old")]),
    "claim-without-trials": lambda: Evidence(trials=trials(), claims=[("new", "newest")]),
    "different-queries": lambda: Evidence(
        trials=trials().query("system == 'new' or query > 20"), claims=[("new", "old")]
    ),
    "few-seeds": lambda: Evidence(trials=trials(seeds=3)),
    "unpaired-seeds": lambda: Evidence(trials=trials().query("system == 'new' or seed > 2")),
    "seeds-do-nothing": lambda: Evidence(trials=trials(spread=0.0)),
    "impossible-table": lambda: Evidence(table=pd.DataFrame({**F1, "F1": ["0.92", "0.77"]})),
    "impossible-table, order": lambda: Evidence(table=pd.DataFrame({**TABLE, "R@5": ["0.25", "0.71"]})),
    "impossible-table, median": lambda: Evidence(table=pd.DataFrame({**TABLE, "MedR": ["12", "2"]})),
    "impossible-table, MRR": lambda: Evidence(table=pd.DataFrame({**TABLE, "MRR": ["0.25", "0.55"]})),
    "impossible-table, range": lambda: Evidence(table=pd.DataFrame({**F1, "recall": ["-0.1", "0.75"]})),
    "impossible-table, counts": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "R@1": ["0.313"]}), n_queries_printed=30
    ),
    "impossible-table, recall": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "recall @10": ["0.74"], "hit rate @10": ["0.70"]})
    ),
    "impossible-table, interval": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "value": ["0.74"], "low": ["0.76"], "high": ["0.80"]})
    ),
    "impossible-table, MRR in shares": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "R@1": ["31.3"], "MRR": ["0.25"]})
    ),
    "f1-of-parts": lambda: Evidence(table=pd.DataFrame({**F1, "F1": ["0.81", "0.77"]})),
    "ambiguous-metric": lambda: scored(reported={"accuracy": 0.9}),
    "f1-by-rounding": lambda: Evidence(table=pd.DataFrame({**F1, "F1": ["0.88", "0.77"]})),
}


def mislabelled():
    """The figure of another metric under this name, as it comes out."""
    from xmr_lab import metrics

    ranks = metrics.rank_relevant_from_scores(x @ y.T, (three, three))
    return {"recall@5": round(float(metrics.hit_rate_at_k(ranks, 5).mean()), 3)}


@pytest.mark.parametrize("name", DEFECTS)
def test_every_planted_defect_is_found(name):
    evidence = DEFECTS[name]()
    if name == "mislabelled-metric":
        evidence.reported = mislabelled()
    found = audit(evidence).findings
    assert name.split(",")[0] in {finding.check for finding in found}, [finding.check for finding in found]
    for finding in found:
        assert finding.what and finding.evidence and finding.why and finding.remedy


def sparse_space(seed):
    """A gallery four times as large as the queries, several relevant items each."""
    queries, gallery = views(200, 32, 0.5, seed)
    return Evidence(queries=queries[:50], gallery=gallery, similarity="cosine", relevant=[[i] for i in range(50)])


def topics(seed, per_topic):
    """A few topics, each with documents of its own, among many documents that answer none."""
    rng = np.random.default_rng(seed)
    topic = rng.normal(size=(20, 32))
    found = np.repeat(topic, per_topic, axis=0) + 1.5 * rng.normal(size=(20 * per_topic, 32))
    relevant = [list(range(per_topic * i, per_topic * (i + 1))) for i in range(20)]
    return Evidence(queries=topic, gallery=np.vstack([found, rng.normal(size=(600, 32))]), similarity="cosine",
                    relevant=relevant)  # fmt: skip


def honest_metrics(seed):
    from xmr_lab import metrics

    queries, gallery = views(90, 24, 0.7, seed)
    ranks = metrics.rank_relevant_from_scores(queries @ gallery.T, (np.arange(90) // 3,) * 2)
    reported = {
        "recall@5": metrics.recall_at_k(ranks, 5).mean(),
        "hit rate @5": metrics.hit_rate_at_k(ranks, 5).mean() * 100,
        "hit rate @10": round(metrics.hit_rate_at_k(ranks, 10).mean() * 100),
        "mAP": round(metrics.average_precision(ranks).mean(), 3),
        "precision@10": round(metrics.precision_at_k(ranks, 10).mean(), 3),
        "our own measure": 7,
    }
    return Evidence(scores=queries @ gallery.T, relevant=(np.arange(90) // 3,) * 2, reported=reported)


CLEAN = {
    **{f"views {seed}": lambda seed=seed: Evidence(
        *views(100 + 20 * seed, 8 * (seed + 1), 0.3 + 0.2 * seed, seed),
        similarity="cosine", relevant=np.eye(100 + 20 * seed, dtype=bool)) for seed in range(8)},
    **{f"large gallery {seed}": lambda seed=seed: sparse_space(seed) for seed in range(4)},
    **{f"honest metrics {seed}": lambda seed=seed: honest_metrics(seed) for seed in range(4)},
    **{f"topics of {n}": lambda n=n: topics(n, n) for n in (1, 6, 40)},
    "a single query": lambda: Evidence(queries=x[:1], gallery=y, similarity="cosine", relevant=[[0]]),
    "scores": scored,
    "minus infinity is a score": lambda: scored(scores=np.where(x @ y.T < -0.3, -np.inf, x @ y.T)),
    "items": lambda: Evidence(items=stock(), features=x[:90]),
    "items without captions": lambda: Evidence(items=stock(caption=None, group=None)),
    "items with gaps": lambda: Evidence(items=stock(), features=np.where(np.arange(90)[:, None] < 5, np.nan, x[:90])),
    "bank of training queries": lambda: Evidence(bank_ids=["a", "b"], query_ids=["c"], tuned_on=["validation"]),
    "lengths are meant": lambda: spaced(gallery=y * np.linspace(0.9, 1.1, 120)[:, None], similarity="dot"),
    "regularised CCA": lambda: Evidence(pairs=435, widths=(1280, 384), regularization=0.3, train=(x, y)),
    "CCA of many pairs": lambda: Evidence(pairs=5000, widths=(1280, 384), regularization=0.0),
    "a real gain": lambda: Evidence(trials=trials(), claims=[("new", "old")]),
    "a deterministic system, once": lambda: Evidence(
        trials=trials(seeds=1, spread=0.0), claims=[("new", "old")]),
    "a table": lambda: Evidence(table=pd.DataFrame({**TABLE, "MRR": ["0.44", "0.55"], "MedR": ["3", "2"]})),
    "a table in percent": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "R@1": ["31.3"], "R@5": ["60"], "R@10": ["71.21"]})),
    "two measures at one cut": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "hit @10": ["0.75"], "recall @10": ["0.70"], "mAP": ["0.41"]})),
    "a table with intervals": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "value": ["0.74"], "low": ["0.70"], "high": ["0.78"]})),
    "a table of two units": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "R@1": ["0.8"], "R@5": ["3.2"], "MRR": ["0.03"], "mAP": ["2.1"]})),
    "several right answers": lambda: Evidence(
        table=pd.DataFrame({"model": ["a"], "recall @1": ["0.20"], "recall @10": ["0.45"], "MedR": ["3"],
                            "MRR": ["0.75"]}), n_queries_printed=30),
    "a classifier": lambda: Evidence(
        table=pd.DataFrame({"accuracy": ["0.97"], "precision": ["0.60"], "recall": ["0.50"], "F1": ["0.55"]})),
    "a classifier without precision": lambda: Evidence(
        table=pd.DataFrame({"accuracy": ["0.97"], "recall": ["0.50"], "F1": ["0.55"], "p": ["0.03"]})),
    "rows with names": lambda: Evidence(table=pd.DataFrame(TABLE).set_index("model")),
    "counts": lambda: Evidence(table=pd.DataFrame({"model": ["a"], "R@1": ["0.313"]}), n_queries_printed=198),
    "F1": lambda: Evidence(table=pd.DataFrame(F1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAN)
def test_clean_experiments_are_left_in_peace(name):
    report = audit(CLEAN[name]())
    assert not report.findings, str(report)
    assert report.made and report.ok


def test_there_are_enough_of_both():
    assert len(DEFECTS) >= 20 and len(CLEAN) >= 20
    planted = {name.split(",")[0] for name in DEFECTS}
    assert set(CHECKS) <= planted, set(CHECKS) - planted


def test_the_gravest_come_first_and_notes_do_not_fail():
    report = audit(Evidence(items=put(stock(speaker="Ana"), 80, "id", "i3")))
    assert [finding.severity for finding in report.findings] == ["error", "note"]
    assert not report.ok and audit(Evidence(items=stock(speaker="Ana"))).ok
    told = json.loads(report.to_json())
    assert told["ok"] is False and told["findings"][0]["check"] == "split-ids"
    assert "queries" in told["skipped"]["different-spaces"]


def test_a_row_of_a_printed_table_is_called_by_its_name():
    for table in (
        pd.DataFrame({**F1, "F1": ["0.92", "0.77"]}),
        pd.DataFrame({**F1, "F1": ["0.92", "0.77"]}).set_index("model"),
    ):
        (finding,) = audit(Evidence(table=table)).findings
        assert "F1 of a is 0.92" in finding.evidence


def test_the_mean_of_single_f1_is_never_called_impossible():
    """It lies between precision + recall - 1 and the harmonic mean, and reaches both."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        p, r = rng.random((2, 5)).round(int(rng.integers(3)))  # of five queries; rounded to 0 and 1, at the corners
        f1 = np.divide(2 * p * r, p + r, out=np.zeros(5), where=p + r > 0).mean()
        assert f1_verdict(p.mean(), r.mean(), f1, 1e-6) != "impossible"
    assert f1_verdict(0.9, 0.85, 0.74, 0.001) == "impossible" and f1_verdict(0.9, 0.85, 0.76, 0.001) == "mean"


@pytest.mark.parametrize("digits", [2, 3])
def test_an_f1_of_rounded_figures_is_never_called_impossible(digits):
    """Whatever the true figures are: rounded, they allow the rounded F1."""
    for p, r in np.random.default_rng(0).random((500, 2)):
        f1 = 2 * p * r / (p + r)
        verdict = f1_verdict(round(p, digits), round(r, digits), round(f1, digits), 0.5 * 10.0**-digits)
        assert verdict in ("follows", "rounding")


# -- files ----------------------------------------------------------------------------------------


def test_evidence_from_files(tmp_path):
    np.savez(tmp_path / "space.npz", queries=x, gallery=y, relevant=np.eye(120, dtype=bool))
    stock().to_parquet(tmp_path / "items.parquet")
    pd.DataFrame(F1).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "facts.toml").write_text('similarity = "cosine"\nclaims = [["new", "old"]]\n[reported]\nmAP = 0.9\n')
    trials().to_csv(tmp_path / "trials.csv", index=False)
    evidence = read_evidence(sorted(tmp_path.iterdir()))
    assert evidence.similarity == "cosine" and evidence.claims == [["new", "old"]]
    assert evidence.items is not None and evidence.trials is not None and evidence.table is not None
    assert {finding.check for finding in audit(evidence).findings} == {"figure-not-reproduced"}


def test_from_the_command_line(tmp_path, capsys):
    """The exit status is 1 if there is something to mend, 2 if the files cannot be read."""
    for name, items in (("clean", stock()), ("torn", put(stock(), 80, "group", "g1"))):
        items.to_parquet(tmp_path / f"{name}.parquet")
    assert main(["audit", str(tmp_path / "clean.parquet")]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out
    assert main(["audit", "--json", str(tmp_path / "torn.parquet")]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["check"] == "split-groups"
    assert main(["audit", str(tmp_path / "nowhere")]) == 2
    assert "no file" in capsys.readouterr().err


def trec(tmp_path, run, qrels):
    (tmp_path / "run.txt").write_text("\n".join(run))
    (tmp_path / "qrels.txt").write_text("\n".join(qrels))
    return read_evidence([tmp_path / "run.txt", tmp_path / "qrels.txt"])


QRELS = [f"q{i} 0 d{i} 1" for i in range(30)]
RUN = [f"q{i} Q0 d{(i + j) % 30} {j + 1} {1 / (j + 1):.6f} me" for i in range(30) for j in range(30)]


def test_a_trec_run_of_short_lists(tmp_path):
    """What a list does not hold is not tied with it, but missed."""
    report = audit(trec(tmp_path, [line for line in RUN if int(line.split()[3]) <= 5], QRELS))
    assert "ties-decide" in report.made and report.ok, str(report)


def test_a_trec_run(tmp_path):
    evidence = trec(tmp_path, RUN, QRELS)
    assert evidence.scores is not None and evidence.scores.shape == (30, 30)
    assert audit(evidence).ok


@pytest.mark.parametrize(
    ("check", "run", "qrels"),
    [
        ("run-repeats", [*RUN, RUN[0]], QRELS),
        ("run-ranks-disagree", [line.replace(" 1 1.0", " 9 1.0") for line in RUN], QRELS),
        ("run-lacks-queries", RUN[60:], QRELS),
        ("not-finite", [*RUN[:-1], RUN[-1].replace("0.033333", "nan")], QRELS),
    ],
)
def test_defects_of_a_trec_run(tmp_path, check, run, qrels):
    assert check in {finding.check for finding in audit(trec(tmp_path, run, qrels)).findings}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"not an archive", "a.npz is no evidence"),
        ("a.parquet", b"neither", "a.parquet is no evidence"),
        ("a.toml", b"= 3", "a.toml is no evidence"),
        ("a.toml", b"speed = 3", "holds speed; expected"),
        ("a.toml", b'claims = ["new", "old"]', "claims must be pairs"),
        ("a.txt", b"one two three", "lines of .3. words"),
        ("a.txt", b"q1 0 d1 1", "alone says nothing"),
    ],
)
def test_files_that_are_no_evidence(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_evidence([tmp_path / name])


def test_exchanged_columns_pickles_and_repeats(tmp_path):
    with pytest.raises(ValueError, match="exchanged"):
        trec(tmp_path, [f"d{i} Q0 q{i} 1 1.0 me" for i in range(3)], QRELS)
    with pytest.raises(FileNotFoundError, match="no file"):
        read_evidence([tmp_path / "nowhere.npz"])
    np.savez(tmp_path / "p.npz", query_ids=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_evidence([tmp_path / "p.npz"])
    (tmp_path / "b.toml").write_text('similarity = "dot"')
    (tmp_path / "c.toml").write_text('similarity = "dot"')
    with pytest.raises(ValueError, match="second time"):
        read_evidence([tmp_path / "b.toml", tmp_path / "c.toml"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": np.zeros(3)}, "matrix"),
        ({"queries": np.array([["a"]])}, "matrix of numbers"),
        ({"items": pd.DataFrame({"id": [1]})}, "columns id and split"),
        ({"features": np.ones((2, 2))}, "features need items"),
        ({"trials": pd.DataFrame({"a": [1]})}, "system, query and value"),
        ({"similarity": "euclid"}, "cosine"),
        ({"pairs": "10"}, "whole numbers"),
        ({"n_queries_printed": 0}, "whole numbers"),
        ({"widths": (3, 4, 5)}, "two views"),
        ({"reported": {"mAP": "0.9"}}, "must hold numbers"),
    ],
)
def test_evidence_of_the_wrong_form(arguments, message):
    with pytest.raises(ValueError, match=message):
        Evidence(**arguments)
