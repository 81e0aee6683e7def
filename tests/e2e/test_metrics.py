"""Metrics beside perplexity in whole runs, against sums over windows.csv and each other."""
import json
import math
import subprocess
import sys

import pytest

from support.program import REPO, TEXT, assert_one_line, copy_of_tiny_books, lasting, read_csv, read_rows, scale_final_norm

W3 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}
BEYOND = {"length": 64, "bos": "start", "targets": "beyond", "tail": "drop"}


@pytest.fixture
def measured(run, experiment, tmp_path):
    """measured(metrics, {dotted key: value}) -> (metrics of the row, lines of windows.csv, {curve: lines})."""

    def run_metrics(metrics, changes):
        process = run("run", experiment({"sweep": None, "windows": {"length": 64}, "metrics": metrics} | changes), "--results", tmp_path / "results")
        assert process.returncode == 0, process.stderr
        (row,) = read_rows(tmp_path / "results").values()
        cell = tmp_path / "results/cells" / row["id"]
        curves = {path.stem: read_csv(path.read_text(encoding="utf-8")) for path in cell.glob("metrics/*.csv")}
        return row["metrics"], read_csv((cell / "windows.csv").read_text(encoding="utf-8")), curves

    return run_metrics


def test_the_model_itself_diverges_nowhere_from_itself(measured):
    metrics, _, _ = measured(["kl_divergence"], {"data.documents": 1})
    assert metrics["kl_divergence"]["value"] == 0 and metrics["top1_agreement"]["value"] == 1
    assert all(metrics[name]["value"] == 0 for name in metrics if name.startswith("delta_p"))


def test_a_quantized_model_diverges_and_its_changes_are_in_order(measured):
    metrics, windows, _ = measured(["kl_divergence", "perplexity"], {"data.documents": 1, "quant": [W3]})
    assert metrics["kl_divergence"]["value"] > 0.01 and 0.3 < metrics["top1_agreement"]["value"] < 1
    percentiles = [metrics[f"delta_p_{percent}"]["value"] for percent in (1, 5, 50, 95, 99)]
    assert percentiles == sorted(percentiles) and percentiles[0] < 0 < percentiles[-1]
    assert metrics["delta_p_rms"]["value"] ** 2 >= metrics["delta_p"]["value"] ** 2
    assert metrics["kl_divergence"]["count"] == metrics["nll"]["count"] == sum(int(window["tokens"]) for window in windows)


@pytest.mark.parametrize("windows", [{"length": 64}, {"length": 64, "stride": 16}, BEYOND | {"tail": "fill"}, BEYOND | {"tail": "keep"}],
                         ids=lambda windows: " ".join(f"{key} {value}" for key, value in windows.items()))
def test_bits_per_byte_are_those_of_all_tokens_over_all_bytes(measured, windows):
    metrics, lines, _ = measured(["bits_per_byte"], {"windows": windows})
    texts = [json.loads(line)["text"] for line in TEXT.read_text(encoding="utf-8").splitlines()]
    loss = sum(float(line["nll_sum"]) for line in lines)
    size, words = sum(len(text.encode()) for text in texts), sum(len(text.split()) for text in texts)
    assert metrics["bits_per_byte"]["value"] == pytest.approx(loss / size / math.log(2), rel=1e-12)
    assert metrics["byte_perplexity"]["value"] == pytest.approx(math.exp(loss / size), rel=1e-12)
    assert metrics["word_perplexity"]["value"] == pytest.approx(math.exp(loss / words), rel=1e-12)
    assert metrics["bits_per_byte"]["count"] == len(texts)


@pytest.mark.parametrize("windows", [{"length": 64, "stride": 16}, BEYOND], ids=["BOS before every window", "the last token not seen"])
def test_the_curve_over_positions_holds_every_token_once(measured, windows):
    metrics, _, curves = measured(["perplexity", {"type": "nll_by_position", "bins": 8, "last": 16}], {"windows": windows})
    curve = curves["nll_by_position"]
    assert list(curve[0]) == ["begin", "end", "tokens", "nll", "low", "high", "clusters"]
    assert [(int(line["begin"]), int(line["end"])) for line in curve] == [(8 * b, 8 * b + 8) for b in range(8)]
    tokens = sum(int(line["tokens"]) for line in curve)
    assert tokens == metrics["nll"]["count"]
    assert sum(int(line["tokens"]) * float(line["nll"]) for line in curve) / tokens == pytest.approx(metrics["nll"]["value"], rel=1e-8)  # nine digits in the table


@pytest.mark.parametrize("windows", [{"length": 64, "tail": "drop"}, BEYOND], ids=["BOS before every window", "the last token not seen"])
def test_the_last_places_are_so_many_in_every_window(measured, windows):
    metrics, lines, curves = measured([{"type": "nll_by_position", "bins": 4, "last": 16}], {"windows": windows})
    assert metrics["nll_last_16"]["count"] == 16 * len(lines)
    last = curves["nll_by_position"][-1]
    assert int(last["tokens"]) == 16 * len(lines)
    assert metrics["nll_last_16"]["value"] == pytest.approx(float(last["nll"]), rel=1e-8)


def test_key_tokens_are_few_and_the_same_for_every_quantizer(run, experiment, tmp_path):
    long_ppl = {"type": "long_ppl", "short": 16, "step": 16, "alpha": 0.3, "beta": -1}
    file = experiment({"windows": {"length": 128}, "metrics": ["perplexity", long_ppl], "sweep": [{"quant": [[], [W3]]}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    full, quantized = (row["metrics"] for row in read_rows(tmp_path / "results").values())
    for metrics in (full, quantized):
        assert metrics["key_tokens"]["count"] == metrics["nll"]["count"]
        assert 0 < metrics["long_ppl"]["count"] < metrics["nll"]["count"] / 2
        assert metrics["long_ppl"]["count"] == round(metrics["key_tokens"]["value"] * metrics["key_tokens"]["count"])
    assert full["long_ppl"]["count"] == quantized["long_ppl"]["count"] and full["long_ppl"]["value"] != quantized["long_ppl"]["value"]
    assert min(full["long_ppl"]["value"], quantized["long_ppl"]["value"]) < math.exp(1.2)  # beta: below 1 nat in full precision


FORMATS = ("table", "csv", "markdown", "latex", "json")


def shown(run, results, *arguments):
    """{format: what `show` prints}"""
    texts = {}
    for kind in FORMATS:
        process = run("show", results, "--format", kind, *arguments)
        assert process.returncode == 0, (kind, process.stderr)
        texts[kind] = process.stdout
    return texts


def reported(results, out):
    process = subprocess.run([sys.executable, REPO / "scripts/report.py", results, "--out", out], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return (out / "report.md").read_text(encoding="utf-8")


def test_no_metric_at_all_still_scores_windows_and_shows(run, experiment, tmp_path):
    file, results = experiment({"metrics": [], "diagnostics": ["quant_error"], "sweep": [{"quant": [[], [W3]]}]}), tmp_path / "results"
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    rows = read_rows(results)
    assert [row["metrics"] for row in rows.values()] == [{}, {}]
    for cell in rows:
        assert read_csv((results / "cells" / cell / "windows.csv").read_text(encoding="utf-8"))
        assert (results / "cells" / cell / "diagnostics/quant_error.csv").exists()
    assert "no metrics; what diagnostics found" in process.stdout
    texts = shown(run, results)
    assert "no metrics; what diagnostics found" in texts["table"] and {line["status"] for line in read_csv(texts["csv"])} == {"ok"}
    assert {row["id"] for row in json.loads(texts["json"])} == rows.keys() and texts["latex"].count("\\\\") == 3
    shown(run, results, "--baseline", "quant=none")
    assert all(f"`{cell}`" in reported(results, tmp_path / "report") for cell in rows)
    assert "2 of 2 cells were finished already" in run("run", file, "--results", results).stderr


def test_cells_with_and_without_metrics_stand_in_one_table(run, experiment, tmp_path):
    file, results = experiment({"sweep": [{"metrics": [[], ["perplexity"], ["bits_per_byte"]]}], "windows": {"length": 64}}), tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    texts = shown(run, results)
    assert sorted(line["perplexity"] != "" for line in read_csv(texts["csv"])) == [False, False, True]
    values = {name: float(line[name]) for line in read_csv(texts["csv"]) for name in ("perplexity", "word_perplexity", "bits_per_byte") if line[name]}
    assert len(values) == 3 and all(f" {value:.5g} " in texts["table"] for value in values.values())  # each metric once
    text = reported(results, tmp_path / "report")
    assert "not finite" not in text and "inf" not in text.split("## Cells")[0]


UNFED = {"a place that no window reaches": ({"windows": {"length": 4096}, "metrics": ["perplexity", {"type": "nll_by_position", "last": 16}]},
                                            ["metrics[1]: no token lies in the last 16 of 4096 places", "set windows.length: "]),
         "a context that no window exceeds": ({"windows": {"length": 8192}, "metrics": ["long_ppl"]},
                                              ["metrics[0]: no token can be key", "no more than a short context of 4096"]),
         "second halves of short texts": ({"windows": {"length": 8192, "score": "second_half"}},
                                          ["no document has a token to score in these windows: the longest has ", "change windows.length or windows.score"]),
         "no window at all": ({"windows": {"length": 8192, "tail": "drop"}, "metrics": []}, ["no document has a token to score in these windows"])}


@pytest.mark.parametrize("kind", UNFED)
def test_a_metric_that_nothing_can_feed_is_refused_before_anything_runs(run, refused, experiment, kind):
    changes, parts = UNFED[kind]
    file = experiment({"sweep": None} | changes)
    refused(file, *parts)
    assert_one_line(run("check", file), *parts)


@pytest.fixture
def loud(tmp_path):
    """A model whose logits are so many times tiny-books'."""
    def make(factor):
        scale_final_norm(copy_of_tiny_books(tmp_path / "loud"), factor)
        return str(tmp_path / "loud")
    return make


def test_a_perplexity_beyond_double_is_inf_everywhere_and_its_nll_stays(run, experiment, loud, tmp_path):
    metrics = ["perplexity", "bits_per_byte"]
    file = experiment({"model.path": loud(1e4), "metrics": metrics, "windows": {"length": 64}, "sweep": [{"quant": [[], [W3]]}]})
    results = tmp_path / "results"
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    rows = read_rows(results)
    for row in rows.values():
        assert row["metrics"]["perplexity"]["value"] is None and row["metrics"]["perplexity"]["stderr"] is None
        assert row["metrics"]["nll"]["value"] > 710 and row["metrics"]["nll"]["stderr"] > 0
        assert row["metrics"]["word_perplexity"]["value"] is None and math.isfinite(row["metrics"]["bits_per_byte"]["value"])
    assert process.stdout.count("inf") >= 4 and "nan" not in process.stdout
    texts = shown(run, results)
    for line in read_csv(texts["csv"]):
        assert float(line["perplexity"]) == math.inf and float(line["nll"]) > 710 and line["perplexity_stderr"] == ""
    assert all("nan" not in text and (kind == "json" or "inf" in text) for kind, text in texts.items())
    paired = shown(run, results, "--baseline", "quant=none")
    assert "nan" not in paired["table"] and "inf" in paired["table"]
    text = reported(results, tmp_path / "report")
    assert "| inf |" in text and "nan" not in text and "not finite" not in text
    assert "2 of 2 cells were finished already" in run("run", file, "--results", results).stderr
    assert run("run", file, "--results", results, "--rerun").returncode == 0
    assert {cell: lasting(row) for cell, row in read_rows(results).items()} == {cell: lasting(row) for cell, row in rows.items()}


def test_a_perplexity_just_within_double_is_shown_with_a_power_of_ten(run, experiment, loud, tmp_path):
    assert run("run", experiment({"model.path": loud(40), "sweep": None}), "--results", tmp_path / "results").returncode == 0
    (row,) = read_rows(tmp_path / "results").values()
    perplexity = row["metrics"]["perplexity"]
    assert 1e9 < perplexity["value"] < 1e300
    for text in (shown(run, tmp_path / "results")["table"], reported(tmp_path / "results", tmp_path / "report")):
        assert f" {perplexity['value']:.5g} " in text


@pytest.mark.parametrize("metric", ["kl_divergence", {"type": "long_ppl", "short": 16, "step": 16}], ids=["kl_divergence", "long_ppl"])
def test_a_reference_whose_losses_are_not_finite_fails_the_cell(failed, experiment, loud, metric):
    changes = {"reference": {"path": loud(float("inf"))}, "metrics": [metric], "windows": {"length": 128}, "sweep": None}
    failed(experiment(changes), "the reference", "not finite")
