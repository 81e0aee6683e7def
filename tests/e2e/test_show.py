"""The five formats of `show`, and its comparisons."""
import json
import math
import re
import shutil

import numpy as np
import pytest

from support.program import TEXT, assert_one_line, copy_of_tiny_books, read_csv, read_rows, scale_final_norm, shown_rows
from support.tasks import write_five_texts


def test_csv_has_every_number_in_full(finished, run):
    _, _, results = finished
    rows = read_rows(results)
    table = read_csv(run("show", results, "--format", "csv").stdout)
    assert {line["id"] for line in table} == rows.keys()
    for line in table:
        row = rows[line["id"]]
        assert line["status"] == "ok" and line["windows.length"] == str(row["axes"]["windows.length"])
        for name in ("perplexity", "nll"):
            for column, field in ((name, "value"), (f"{name}_stderr", "stderr"), (f"{name}_count", "count")):
                assert float(line[column]) == row["metrics"][name][field]
            assert line[f"{name}_clusters"] == "2" and line[f"{name}_low"] == line[f"{name}_high"] == "" and line["draws"] == "1"
        assert float(line["seconds"]) == row["seconds"] and int(line["peak_bytes"]) == row["peak_bytes"]


def test_json_is_the_rows(finished, run):
    _, _, results = finished
    process = run("show", results, "--format", "json")
    assert shown_rows(process) == read_rows(results)
    for row in json.loads(process.stdout):  # what a report needs not compute
        assert row["labels"] == {"rope": {"none": "none", "linear": "linear ×2"}[row["axes"]["rope"]["type"]],
                                 "windows.length": str(row["axes"]["windows.length"])}
        assert row["texts"]["perplexity"] in run("show", results).stdout


def test_table_has_a_line_for_each_scheme_and_a_column_for_each_length(finished, run):
    _, _, results = finished
    header, rule, *lines = run("show", results, "--format", "table").stdout.split("\n\n")[0].splitlines()
    assert header.split() == ["rope", "32", "64"] and set(rule) == {"-", " "}
    assert [line.split()[0] for line in lines] == ["none", "linear"]
    for row in read_rows(results).values():
        line = lines[["none", "linear"].index(row["axes"]["rope"]["type"])]
        values = [float(value) for value in re.findall(r"\d+\.\d+", line)]
        assert values[[32, 64].index(row["axes"]["windows.length"])] == pytest.approx(row["metrics"]["perplexity"]["value"], rel=0.05)


def test_markdown_has_equally_many_columns_in_every_line(finished, run):
    _, _, results = finished
    lines = run("show", results, "--format", "markdown").stdout.split("\n\n")[0].splitlines()
    assert len(lines) == 4 and all(line.startswith("|") and line.endswith("|") for line in lines)
    assert {line.count("|") for line in lines} == {4}
    assert re.fullmatch(r"(\|:?-+:?)+\|", lines[1])


def losses(results, cell):
    return [(float(line["nll_sum"]), int(line["tokens"])) for line in
            read_csv((results / "cells" / cell / "windows.csv").read_text(encoding="utf-8"))]


def paired(results, cell, baseline):
    """(difference of mean NLL, its standard error by the jackknife) of windows in as many documents."""
    parts = [(a - b, n) for (a, n), (b, _) in zip(losses(results, cell), losses(results, baseline))]
    tokens = sum(n for _, n in parts)
    mean = sum(d for d, _ in parts) / tokens
    without = [(mean * tokens - d) / (tokens - n) for d, n in parts]
    return mean, sum((left_out - mean) ** 2 for left_out in without) ** 0.5


@pytest.fixture
def baseline(finished):
    return next(cell for cell, row in read_rows(finished[2]).items() if row["axes"]["rope"]["type"] == "none" and row["axes"]["windows.length"] == 64)


@pytest.fixture
def five_documents(run, experiment, tmp_path):
    """The results of none and linear over five documents of unequal length, in three rounding draws."""
    texts = write_five_texts(tmp_path / "texts.jsonl")
    sweep = [{"rope": [{"type": "none"}, {"type": "linear", "factor": 4}], "rounding.draw": [0, 1, 2],
              "quant": [[], [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]]}]
    file = experiment({"data": {"path": str(texts)}, "windows": {"length": 512}, "model.dtype": "float32", "sweep": sweep})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    return tmp_path / "results"


def test_a_baseline_adds_differences_to_the_table(finished, run, baseline):
    _, _, results = finished
    rows = read_rows(results)
    lines = {line.split()[0]: line for line in run("show", results, "--baseline", baseline[:8]).stdout.split("\n\n")[0].splitlines()[2:]}
    assert lines.keys() == rows.keys()
    for cell, row in rows.items():
        if cell == baseline:
            assert re.search(r" baseline +1 *$", lines[cell])
        elif row["axes"]["windows.length"] == 64:
            mean, _ = paired(results, cell, baseline)
            difference, ratio = re.search(r" ([+-][\d.]+) +([\d.]+)$", lines[cell]).groups()  # two documents have no interval
            assert float(difference) == pytest.approx(mean, abs=6e-5) and float(ratio) == pytest.approx(math.exp(mean), rel=1e-4)
        else:
            assert " other windows" in lines[cell]


def test_a_baseline_is_numbers_for_programs(finished, run, baseline):
    _, _, results = finished
    rows = read_rows(results)
    table = {line["id"]: line for line in read_csv(run("show", results, "--format", "csv", "--baseline", baseline).stdout)}
    found = shown_rows(run("show", results, "--format", "json", "--baseline", baseline))
    for cell, row in rows.items():
        line, pair = table[cell], found[cell].pop("paired")
        assert found[cell] == row and line["perplexity"] == repr(row["metrics"]["perplexity"]["value"])
        assert pair["baseline"] == line["baseline"] == baseline
        if cell != baseline and row["axes"]["windows.length"] == 64:
            mean, error = paired(results, cell, baseline)
            assert pair.keys() == {"baseline", "nll", "perplexity_ratio"} and line["reason"] == ""
            assert [float(line[name]) for name in ("Δnll", "Δnll_stderr", "ppl ratio")] == pytest.approx([mean, error, math.exp(mean)], rel=1e-9)
            assert (line["Δnll_clusters"], line["Δnll_draws"], line["Δnll_survives"]) == ("2", "1", "0")
            assert pair["nll"]["difference"] == float(line["Δnll"]) and pair["nll"]["low"] is pair["nll"]["p_value"] is None
            assert pair["perplexity_ratio"]["value"] == float(line["ppl ratio"])
        else:
            why = "baseline" if cell == baseline else "other windows"
            assert pair == {"baseline": baseline, "reason": why} and line["reason"] == why
            assert line["Δnll"] == line["ppl ratio"] == line["Δnll_clusters"] == ""


def test_intervals_are_over_documents_given_the_rounding(five_documents, run):
    rows = json.loads(run("show", five_documents, "--draws", "--format", "json", "--baseline", "quant=none").stdout)
    assert len(rows) == 12
    for row in rows:
        assert row["metrics"]["nll"]["clusters"] == 5
        if row["paired"].get("reason") == "baseline":
            continue
        nll = row["paired"]["nll"]
        mean, error = paired(five_documents, row["id"], row["paired"]["baseline"])
        assert [nll["difference"], nll["stderr"]] == pytest.approx([mean, error], rel=1e-9)
        assert nll["low"] < mean < nll["high"] and mean - nll["low"] == pytest.approx(nll["high"] - mean)
        assert nll["detectable"] > nll["high"] - mean  # power of 80 % takes more than half the interval
    text = run("show", five_documents, "--draws").stdout
    assert "95 % intervals over 5 documents, given this rounding" in text and "rounding.draw" in text


def test_draws_are_one_row_with_a_mean(five_documents, run):
    rows = read_rows(five_documents)
    shown = json.loads(run("show", five_documents, "--format", "json").stdout)
    assert len(shown) == 4 and "rounding.draw" not in shown[0]["axes"]
    for row in shown:
        assert [draw["draw"] for draw in row["draws"]] == [0, 1, 2]
        values = [rows[draw["id"]]["metrics"]["nll"]["value"] for draw in row["draws"]]
        assert row["metrics"]["nll"]["value"] == pytest.approx(sum(values) / 3, rel=1e-12)
        assert row["metrics"]["perplexity"]["value"] == pytest.approx(math.exp(sum(values) / 3), rel=1e-12)
        full_precision = not row["axes"]["quant"]
        assert (abs(values[0] - values[1]) < 1e-5) == full_precision  # W3 draws a new rounding, the function stays
    text = run("show", five_documents).stdout
    assert "95 % intervals over 5 documents and 3 rounding draws" in text and "[" in text.split("\n\n")[0]


def test_an_interaction_is_the_difference_of_differences(five_documents, run):
    (found,) = json.loads(run("show", five_documents, "--interaction", "rope,quant", "--format", "json").stdout)
    rows = {(row["axes"]["rope"]["type"], bool(row["axes"]["quant"])): row["metrics"]["nll"]["value"]
            for row in json.loads(run("show", five_documents, "--format", "json").stdout)}
    expected = rows["linear", True] - rows["linear", False] - rows["none", True] + rows["none", False]
    assert found["value"] == pytest.approx(expected, rel=1e-9) and (found["clusters"], found["draws"]) == (5, 3)
    assert found["between"] == {"rope": "none", "quant": "none"}
    (line,) = read_csv(run("show", five_documents, "--interaction", "rope=linear ×4,quant=none", "--format", "csv").stdout)
    assert float(line["interaction"]) == pytest.approx(-expected, rel=1e-9) and line["interaction_draws"] == "3"
    table = run("show", five_documents, "--interaction", "rope,quant").stdout
    assert f"{expected:+.4f} [" in table and "of 1 comparisons survive" in table
    assert "\n\n95 % intervals over 5 documents and 3 rounding draws; interaction: " in table and "; model " in table
    given = run("show", five_documents, "--draws", "--baseline", "quant=none").stdout
    assert "given this rounding" in given


def test_rows_of_other_calibrations_are_compared_with_their_own(five_documents, experiment, run, tmp_path):
    rope = [{"type": "none"}, {"type": "linear", "factor": 4}]
    gptq, awq = ([{"match": "layers.*", "weight": {"type": kind, "bits": 3, "group": 64}}] for kind in ("gptq", "awq"))
    file = experiment({"data": {"path": str(tmp_path / "texts.jsonl")}, "windows": {"length": 512}, "model.dtype": "float32",
                       "calibration": {"data": {"path": str(TEXT)}, "samples": 2, "length": 64},
                       "sweep": [{"rope": rope, "quant": [[], gptq]}, {"rope": rope, "calibration.samples": [4], "quant": [gptq, awq]}]})
    results = tmp_path / "calibrated"
    assert run("run", file, "--results", results).returncode == 0
    rows = {(row["config"]["quant"][0]["weight"]["type"] if row["config"]["quant"] else "none", row["config"]["rope"]["type"],
             row["config"].get("calibration", {}).get("samples")): row for row in read_rows(results).values()}
    nll = {key: row["metrics"]["nll"]["value"] for key, row in rows.items()}

    def interactions(reference):
        shown = run("show", results, "--interaction", f"rope,quant={reference}", "--format", "json")
        assert shown.returncode == 0, shown.stderr
        return {line["id"]: line.get("value") for line in json.loads(shown.stdout) if line["metric"] == "nll"}

    def expected(one, samples, other, others):
        cost = [nll[one, scheme, samples] - nll[other, scheme, others] for scheme in ("linear", "none")]
        return pytest.approx(cost[0] - cost[1], rel=1e-6, abs=1e-9)

    found = interactions("none")
    assert len(found) == 3
    for kind, samples in (("gptq", 2), ("gptq", 4), ("awq", 4)):
        assert found[rows[kind, "linear", samples]["id"]] == expected(kind, samples, "none", None)
    assert len({nll["gptq", "none", samples] for samples in (2, 4)}) == 2  # or nothing could be mixed up
    found = interactions("gptq W3 g64")
    assert found[rows["awq", "linear", 4]["id"]] == expected("awq", 4, "gptq", 4)
    assert found[rows["none", "linear", None]["id"]] is None  # two calibrations of GPTQ, and no telling which
    paired = {row["id"]: row["paired"] for row in json.loads(run("show", results, "--baseline", "quant=gptq W3 g64", "--format", "json").stdout)}
    assert paired[rows["awq", "none", 4]["id"]]["baseline"] == rows["gptq", "none", 4]["id"]
    by_samples = {row["id"]: row["paired"] for row in json.loads(run("show", results, "--baseline", "calibration.samples=2", "--format", "json").stdout)}
    assert by_samples[rows["gptq", "none", 4]["id"]]["baseline"] == rows["gptq", "none", 2]["id"]


def test_what_a_format_costs_is_compared_between_lengths(run, experiment, five_documents, tmp_path):
    """The documents' own windows: a difference of differences over other tokens of the same documents, by an estimate of its own."""
    w3 = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]
    file = experiment({"data": {"path": str(tmp_path / "texts.jsonl")}, "windows": {"length": 64, "truncate": True}, "model.dtype": "float32",
                       "metrics": ["perplexity", {"type": "nll_by_position", "bins": 2, "last": 16}],
                       "sweep": [{"windows.length": [32, 64], "quant": [[]]}, {"windows.length": [32, 64], "rounding.draw": [0, 1, 2], "quant": [w3]}]})
    results = tmp_path / "lengths"
    assert run("run", file, "--results", results).returncode == 0
    lines = json.loads(run("show", results, "--interaction", "windows.length,quant", "--format", "json").stdout)
    (found,) = (line for line in lines if line["metric"] == "nll")
    rows = {(row["axes"]["windows.length"], bool(row["axes"]["quant"])): row for row in json.loads(run("show", results, "--format", "json").stdout)}
    cost = {length: rows[length, True]["metrics"]["nll"]["value"] - rows[length, False]["metrics"]["nll"]["value"] for length in (32, 64)}
    assert found["value"] == pytest.approx(cost[64] - cost[32], rel=1e-9) and (found["clusters"], found["draws"]) == (5, 3)
    # By hand: all windows are equally long, so that the mean over documents is the mean of all.
    parts = [[per_document(results, rows[length, True], draw) - per_document(results, rows[length, False], 0) for draw in range(3)] for length in (64, 32)]
    x_rd = np.array(parts[0]) - np.array(parts[1])
    assert found["value"] == pytest.approx(x_rd.mean(), rel=1e-6)
    of_clusters, of_draws = x_rd.mean(axis=0).var(ddof=1) / 4, x_rd.mean(axis=1).var(ddof=1) / 3  # src/base/interval.h, five equal weights
    rest = x_rd - x_rd.mean(axis=0) - x_rd.mean(axis=1)[:, None] + x_rd.mean()
    of_rest = (rest ** 2).sum() / 16 / 6
    assert found["stderr"] == pytest.approx(math.sqrt(max(of_clusters + max(0, of_draws - of_rest), of_draws)), rel=1e-5)


def per_document(results, row, draw):
    cell = row["draws"][draw]["id"] if "draws" in row else row["id"]
    return np.array([float(line["nll_sum"]) / int(line["tokens"]) for line in read_csv((results / "cells" / cell / "windows.csv").read_text(encoding="utf-8"))])


@pytest.mark.parametrize(("axes", "said"), [
    ("rop,quant", "no axis 'rop'; did you mean 'rope'?"), ("rope", "write two axes, such as rope,quant"),
    ("rope,model.dtype", "has one level (float32), and an interaction compares two"),
    ("rope=yarn,quant", "no row has that value; its values are none | linear ×4"), ("rope,rope", "is one axis twice"),
    ("rope,quant,rope", "names three axes; write two"), ("", "is empty"),
    ("rounding.draw,quant", "rows are means over rounding draws; `show --draws` shows each draw")])
def test_what_is_no_interaction_is_one_line(five_documents, run, axes, said):
    assert_one_line(run("show", five_documents, "--interaction", axes), "--interaction", said)


def test_an_interaction_has_its_own_references(five_documents, run):
    assert_one_line(run("show", five_documents, "--interaction", "rope,quant", "--baseline", "quant=none"), "--interaction", "--baseline")


def test_levels_with_other_draws_are_not_compared(five_documents, run):
    victim = next(cell for cell, row in read_rows(five_documents).items() if row["axes"]["rounding.draw"] == 1 and row["axes"]["quant"])
    shutil.rmtree(five_documents / "cells" / victim)
    assert_one_line(run("show", five_documents, "--interaction", "rope,quant"), "rows cannot be compared: other draws")


def test_a_failed_corner_is_said(five_documents, run):
    for cell, row in read_rows(five_documents).items():
        if row["axes"]["rope"]["type"] == "none" and row["axes"]["quant"]:
            (five_documents / "cells" / cell / "row.json").write_text(json.dumps(row | {"status": "failed", "metrics": {}, "error": "no memory"}), encoding="utf-8")
    for options in ([], ["--draws"]):
        assert_one_line(run("show", five_documents, "--interaction", "rope,quant", *options), "rows cannot be compared: failed")


def test_what_was_not_run_is_counted_and_has_no_line(run, experiment, tmp_path):
    w3, w4 = ([{"match": "layers.*", "weight": {"type": "rtn", "bits": bits, "group": 64}}] for bits in (3, 4))
    file = experiment({"windows.length": 64, "sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 4}], "quant": [[], w3]},
                                                       {"rope": [{"type": "linear", "factor": 4}], "quant": [w4]}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    text = run("show", tmp_path / "results", "--interaction", "rope,quant").stdout
    assert "rtn W3 g64" in text and "rtn W4 g64" not in text and "1 left out, whose counterparts were not run" in text
    assert_one_line(run("show", tmp_path / "results", "--interaction", "rounding.draw,quant"), "no axis 'rounding.draw'")  # nothing has draws
    lines = json.loads(run("show", tmp_path / "results", "--interaction", "rope,quant", "--format", "json").stdout)
    assert {line["labels"]["quant"]: line.get("reason") for line in lines} == {"rtn W3 g64": None, "rtn W4 g64": "not run"}


def test_a_single_window_has_no_errors(run, experiment, tmp_path):
    results = tmp_path / "results"
    assert run("run", experiment({"data.documents": 1, "windows.length": 64, "sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2}]}]}),
               "--results", results).returncode == 0
    for row in json.loads(run("show", results, "--format", "json", "--baseline", "rope=none").stdout):
        if row["axes"]["rope"]["type"] != "none":
            nll, ratio = row["paired"]["nll"], row["paired"]["perplexity_ratio"]
            assert nll["clusters"] == 1 and nll["stderr"] is nll["low"] is nll["high"] is ratio["low"] is None
            assert ratio["value"] == pytest.approx(math.exp(nll["difference"]))
    line = read_csv(run("show", results, "--format", "csv", "--baseline", "rope=none").stdout)[1]
    assert line["Δnll"] != "" and [line[name] for name in ("Δnll_stderr", "Δnll_low", "Δnll_high", "ppl ratio_low")] == [""] * 4
    assert "no intervals: 1 document is fewer than 4" in run("show", results).stdout


def test_failed_rows_and_rows_without_a_baseline_say_so_to_programs(run, experiment, tmp_path):
    model, results = copy_of_tiny_books(tmp_path / "model"), tmp_path / "results"
    scale_final_norm(model, 3e4)  # infinite logits in float16
    sweep = [{"model.dtype": ["float16", "float32"]}, {"model.dtype": ["float64"], "seed": [1]}]
    assert run("run", experiment({"model.path": str(model), "windows.length": 64, "sweep": sweep}), "--results", results).returncode == 1
    found = {row["axes"]["model.dtype"]: row["paired"] for row in
             json.loads(run("show", results, "--format", "json", "--baseline", "model.dtype=float32").stdout)}
    cells = {row["axes"]["model.dtype"]: cell for cell, row in read_rows(results).items()}
    assert found == {"float16": {"baseline": cells["float32"], "reason": "failed"}, "float32": {"baseline": cells["float32"], "reason": "baseline"},
                     "float64": {"baseline": None, "reason": "no baseline"}}
    lines = read_csv(run("show", results, "--format", "csv", "--baseline", "model.dtype=float32").stdout)
    assert {line["model.dtype"]: (line["baseline"], line["reason"]) for line in lines} == {
        dtype: (pair["baseline"] or "", pair["reason"]) for dtype, pair in found.items()}


def test_a_baseline_by_axis_gives_each_row_its_own(finished, run):
    _, _, results = finished
    rows = {(row["axes"]["rope"]["type"], row["axes"]["windows.length"]): row["metrics"]["nll"]["value"]
            for row in read_rows(results).values()}
    table = run("show", results, "--baseline", "rope=none").stdout.split("Δnll\n")[1]
    header, _, none, linear = table.split("\n\n")[0].splitlines()
    assert header.split() == ["rope", "32", "64"] and none.count("baseline") == 2
    for length, difference in zip((32, 64), linear.split()[2:], strict=True):
        assert float(difference) == pytest.approx(rows["linear", length] - rows["none", length], abs=6e-5)
    assert "Δ: against rope=none over the same windows or questions" in table


def test_rows_that_no_baseline_fits_say_so(run, experiment, tmp_path):
    sweep = [{"rope": [{"type": "none"}], "windows.length": [32, 64]}, {"rope": [{"type": "linear", "factor": 2}], "windows.length": [48]}]
    assert run("run", experiment({"sweep": sweep}), "--results", tmp_path / "results").returncode == 0
    text = run("show", tmp_path / "results", "--baseline", "rope=none").stdout
    assert text.count(" no baseline") == 1 and text.count(" baseline") == 3


@pytest.mark.parametrize(("baseline", "parts"), [("rope=yarn", ["no row has that value", "none | linear ×2"]),
                                                 ("rop=none", ["no axis 'rop'", "rope, windows.length"])])
def test_a_baseline_that_is_not_there_lists_what_is(finished, run, baseline, parts):
    _, _, results = finished
    for format in ("table", "csv", "markdown", "latex", "json"):
        assert_one_line(run("show", results, "--baseline", baseline, "--format", format), *parts)


def test_texts_run_across_where_lengths_do_not(run, experiment, tmp_path):
    (tmp_path / "other.txt").write_text("Not much of a text, yet it can be scored. " * 20, encoding="utf-8")
    sweep = [{"data": [{"path": str(TEXT)}, {"path": str(tmp_path / "other.txt")}], "rope": [{"type": "none"}, {"type": "yarn", "factor": 2}]}]
    assert run("run", experiment({"sweep": sweep}), "--results", tmp_path / "results").returncode == 0
    header, _, *lines = run("show", tmp_path / "results").stdout.split("\n\n")[0].splitlines()
    assert header.split() == ["rope", "text", "other"] and len(lines) == 2
