"""Clusters of texts and questions: clusters.csv and the intervals in rows, against sums over windows.csv and SciPy."""
import json
import math
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from support.program import read_csv, read_rows, tiny_books_tokenizer_hash, write_token_file

STORY = "The kiln stood where the road turned. A cart came up with two men, who looked at it for a long time. "
# Six texts of four groups: two of a book, two of another, and two that name none.
TEXTS = [{"id": f"{name}{i}", "text": f"{name} {i}. " + STORY * (2 + i), **({"group": name} if name != "alone" else {})}
         for i, name in enumerate(["mill", "mill", "ford", "alone", "ford", "alone"])]


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def cell(run, experiment, tmp_path):
    """cell({dotted key: value}) -> (row, windows.csv, clusters.csv) of a run of one cell."""

    def run_cell(**changes):
        file = experiment({"sweep": None, "windows": {"length": 32}, "data.path": write_lines(tmp_path / "texts.jsonl", TEXTS)} | changes)
        process = run("run", file, "--results", tmp_path / "ran", "--rerun")
        assert process.returncode == 0, process.stderr
        (row,) = (row for row in read_rows(tmp_path / "ran").values() if row["id"] in process.stderr)
        folder = tmp_path / "ran/cells" / row["id"]
        windows = read_csv((folder / "windows.csv").read_text(encoding="utf-8")) if (folder / "windows.csv").exists() else None
        return row, windows, read_csv((folder / "clusters.csv").read_text(encoding="utf-8"))

    return run_cell


def interval(clusters):
    """The 95 % interval of sum / weight by leaving out each cluster in turn (docs/method.md 5.4)."""
    s, w = (np.array([float(cluster[key]) for cluster in clusters]) for key in ("sum", "weight"))
    mean, a = s.sum() / w.sum(), w / w.sum()
    jackknife = [(s.sum() - x) / (w.sum() - y) - mean for x, y in zip(s, w)]
    residuals = np.eye(len(a)) - a  # of independent tokens, whose cluster means have the variance 1 / a
    form = np.diag(a * a / (1 - a)) @ residuals @ np.diag(1 / a) @ residuals.T
    degrees = np.trace(form) ** 2 / np.trace(form @ form)
    reach = math.hypot(*jackknife) * stats.t.ppf(0.975, degrees)
    return mean - reach, mean + reach


def test_texts_of_one_group_are_one_cluster_of_every_metric(cell):
    row, windows, clusters = cell(metrics=["perplexity", "bits_per_byte", {"type": "nll_by_position", "bins": 2, "last": 8}])
    assert {window["document"]: window["group"] for window in windows} == {text["id"]: text.get("group", text["id"]) for text in TEXTS}
    sums, tokens = defaultdict(float), defaultdict(int)
    for window in windows:
        sums[window["group"]] += float(window["nll_sum"])
        tokens[window["group"]] += int(window["tokens"])
    by_metric = defaultdict(list)
    for cluster in clusters:
        by_metric[cluster["metric"]].append(cluster)
    assert set(by_metric) == {*row["metrics"], "nll_by_position/0-16", "nll_by_position/16-32"}
    assert [cluster["group"] for cluster in by_metric["nll"]] == ["mill", "ford", "alone3", "alone5"]
    for cluster in by_metric["nll"]:
        assert float(cluster["weight"]) == tokens[cluster["group"]]
        assert float(cluster["sum"]) == pytest.approx(sums[cluster["group"]], rel=1e-12)
        assert len(cluster["scored"]) == 16
    for name, metric in row["metrics"].items():
        low, high = interval(by_metric[name])
        link = {"exp": math.exp}.get(metric.get("link"), lambda x: x)
        assert metric["clusters"] == 4
        assert (metric["low"], metric["high"]) == pytest.approx((link(low), link(high)), rel=1e-9)
        assert metric["low"] < metric["value"] < metric["high"]


def test_what_two_rows_scored_has_the_same_hash_where_it_is_the_same(cell):
    hashes = {}
    for name, changes in {"full": {}, "quantized": {"quant": [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]},
                          "shorter": {"windows": {"length": 16}}}.items():
        hashes[name] = {(line["metric"], line["group"]): line["scored"] for line in cell(**changes)[2]}
    assert hashes["full"] == hashes["quantized"]
    assert hashes["full"].keys() == hashes["shorter"].keys()
    assert all(hashes["full"][key] != hashes["shorter"][key] for key in hashes["full"])


def test_joined_documents_are_one_cluster_without_an_interval(cell):
    row, windows, clusters = cell(windows={"length": 32, "concatenate": True})
    assert {window["group"] for window in windows} == {"mill0 and 5 more"}
    assert {cluster["group"] for cluster in clusters} == {"mill0 and 5 more"}
    assert row["metrics"]["nll"]["clusters"] == 1 and row["metrics"]["nll"]["low"] is None


def test_questions_are_clusters_and_may_share_one(cell, tmp_path):
    questions = [{"id": i, "query": "A cart", "choices": [" came", " went"], "label": i % 2} for i in range(6)]
    for question in questions[:2]:
        question["group"] = "first"
    task = {"type": "multiple_choice", "path": write_lines(tmp_path / "asked.jsonl", questions)}
    row, _, clusters = cell(**{"data": None, "windows": {"length": 64}, "tasks": [task]})
    acc = [line for line in clusters if line["metric"] == "asked/acc"]
    assert [(line["group"], float(line["sum"]), float(line["weight"])) for line in acc] == [
        ("first", 1, 2), *((str(i), float(acc[i - 1]["sum"]), 1) for i in range(2, 6))]
    assert row["metrics"]["asked/acc"]["clusters"] == 5
    assert sum(float(line["sum"]) for line in acc) / 6 == pytest.approx(row["metrics"]["asked/acc"]["value"])


def test_groups_of_a_token_file_are_read_and_wrong_ones_refused(cell, refused, experiment, tmp_path):
    file, documents = tmp_path / "texts.tok", {name: [20 + i, 30, 40, 50] * 10 for i, name in enumerate("abc")}
    write_token_file(file, tiny_books_tokenizer_hash(), documents, groups=["x", "x", "c"])
    assert {window["document"]: window["group"] for window in cell(**{"data.path": str(file)})[1]} == {"a": "x", "b": "x", "c": "c"}
    write_token_file(file, tiny_books_tokenizer_hash(), documents, groups=["x", "x"])
    refused(experiment({"sweep": None, "data.path": str(file)}), f"{file}: the header's groups are not as many as its ids, 3")


@pytest.mark.parametrize(("group", "part"), [(3, '"group" is a JSON number, not a string'), ("", '"group" is empty'),
                                             ("a\nb", '"group" holds a control character')])
def test_a_group_that_names_nothing_is_refused(refused, experiment, tmp_path, group, part):
    path = write_lines(tmp_path / "texts.jsonl", [TEXTS[0], TEXTS[1] | {"group": group}])
    refused(experiment({"sweep": None, "data.path": path}), f"{path}:2: {part}")
