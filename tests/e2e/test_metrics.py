"""Metrics beside perplexity in whole runs, against sums over windows.csv and each other."""
import json
import math

import pytest

from support.program import TEXT, read_csv, read_rows

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
    assert list(curve[0]) == ["begin", "end", "tokens", "nll", "stderr"]
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
