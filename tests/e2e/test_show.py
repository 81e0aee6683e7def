"""The five formats of `show`, and its paired comparison."""
import json
import math
import re

import pytest

from support.program import TEXT, assert_one_line, copy_of_tiny_books, read_csv, read_rows, scale_final_norm, shown_rows


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
        values = [float(value) for value in re.findall(r"([\d.]+) ±", line)]
        assert values[[32, 64].index(row["axes"]["windows.length"])] == pytest.approx(row["metrics"]["perplexity"]["value"], rel=0.05)


def test_markdown_has_equally_many_columns_in_every_line(finished, run):
    _, _, results = finished
    lines = run("show", results, "--format", "markdown").stdout.split("\n\n")[0].splitlines()
    assert len(lines) == 4 and all(line.startswith("|") and line.endswith("|") for line in lines)
    assert {line.count("|") for line in lines} == {4}
    assert re.fullmatch(r"(\|:?-+:?)+\|", lines[1])


def test_latex_is_a_tabular_with_equally_many_columns_in_every_line(finished, run):
    _, _, results = finished
    lines = run("show", results, "--format", "latex").stdout.split("\n\n")[0].splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}" and lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 3 and {line.count("&") for line in body} == {2}


def losses(results, cell):
    return [(float(line["nll_sum"]), int(line["tokens"])) for line in
            read_csv((results / "cells" / cell / "windows.csv").read_text(encoding="utf-8"))]


def paired(results, cell, baseline):
    """(difference of mean NLL, its standard error, [its values for each document]) of two windows in two documents."""
    (first, tokens), (second, _) = [(a - b, n) for (a, n), (b, _) in zip(losses(results, cell), losses(results, baseline))]
    mean = (first + second) / (2 * tokens)
    error = (2 * ((first - tokens * mean) ** 2 + (second - tokens * mean) ** 2)) ** 0.5 / (2 * tokens)
    return mean, error, sorted((first / tokens, second / tokens))


@pytest.fixture
def baseline(finished):
    return next(cell for cell, row in read_rows(finished[2]).items() if row["axes"]["rope"]["type"] == "none" and row["axes"]["windows.length"] == 64)


def test_a_baseline_adds_paired_differences_to_the_table(finished, run, baseline):
    _, _, results = finished
    rows = read_rows(results)
    lines = {line.split()[0]: line for line in run("show", results, "--baseline", baseline[:8]).stdout.split("\n\n")[0].splitlines()[2:]}
    assert lines.keys() == rows.keys()
    for cell, row in rows.items():
        if cell == baseline:
            assert re.search(r" baseline +1 *$", lines[cell])
        elif row["axes"]["windows.length"] == 64:
            mean, error, documents = paired(results, cell, baseline)
            difference, reach, low, high, ratio, _, windows = re.search(
                r"(-?[\d.]+) ± ([\d.]+) +([+-][\d.]+) \.\. ([+-][\d.]+) +([\d.]+) ± ([\d.]+) +(\d+)$", lines[cell]).groups()
            assert float(difference) == pytest.approx(mean, abs=0.5 * error) and float(reach) == pytest.approx(error, rel=0.1) and windows == "2"
            assert [float(low), float(high)] == pytest.approx(documents, abs=6e-5) and float(ratio) == pytest.approx(math.exp(mean), abs=0.01)
        else:
            assert " other windows" in lines[cell]


def test_a_baseline_is_numbers_for_programs(finished, run, baseline):
    _, _, results = finished
    rows = read_rows(results)
    table = {line["id"]: line for line in read_csv(run("show", results, "--format", "csv", "--baseline", baseline).stdout)}
    found = shown_rows(run("show", results, "--format", "json", "--baseline", baseline))
    numbers = ["Δnll", "Δnll_stderr", "Δnll_low", "Δnll_high", "ppl ratio", "ppl ratio_stderr", "paired windows"]
    for cell, row in rows.items():
        line, pair = table[cell], found[cell].pop("paired")
        assert found[cell] == row and line["perplexity"] == repr(row["metrics"]["perplexity"]["value"])
        assert pair["baseline"] == line["baseline"] == baseline
        if cell != baseline and row["axes"]["windows.length"] == 64:
            mean, error, documents = paired(results, cell, baseline)
            assert pair.keys() == {"baseline", "nll", "perplexity_ratio"} and line["reason"] == ""
            # Of two documents every fourth draw is twice the first, and every fourth twice the second.
            expected = [mean, error, *documents, math.exp(mean), math.exp(mean) * error, 2]
            assert [float(line[name]) for name in numbers] == pytest.approx(expected, rel=1e-9)
            assert list(pair["nll"]) == ["difference", "stderr", "low", "high", "windows"]
            assert [*pair["nll"].values()] == [float(line[name]) for name in numbers[:4]] + [2]
            assert pair["perplexity_ratio"] == {"value": float(line["ppl ratio"]), "stderr": float(line["ppl ratio_stderr"])}
        else:
            why = "baseline" if cell == baseline else "other windows"
            assert pair == {"baseline": baseline, "reason": why} and line["reason"] == why
            assert [line[name] for name in numbers] == [""] * 7


def test_a_single_window_has_no_errors(run, experiment, tmp_path):
    results = tmp_path / "results"
    assert run("run", experiment({"data.documents": 1, "windows.length": 64, "sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2}]}]}),
               "--results", results).returncode == 0
    for row in json.loads(run("show", results, "--format", "json", "--baseline", "rope=none").stdout):
        if row["axes"]["rope"]["type"] != "none":
            nll, ratio = row["paired"]["nll"], row["paired"]["perplexity_ratio"]
            assert nll["windows"] == 1 and nll["stderr"] is nll["low"] is nll["high"] is ratio["stderr"] is None
            assert ratio["value"] == pytest.approx(math.exp(nll["difference"]))
    line = read_csv(run("show", results, "--format", "csv", "--baseline", "rope=none").stdout)[1]
    assert line["Δnll"] != "" and [line[name] for name in ("Δnll_stderr", "Δnll_low", "Δnll_high", "ppl ratio_stderr")] == [""] * 4


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
    text, caption = run("show", results, "--baseline", "rope=none").stdout.split("\n\n")
    header, _, none, linear = text.splitlines()
    assert header.split() == ["rope", "32", "64"] and none.count("(baseline)") == 2
    for length, (difference, error) in zip((32, 64), re.findall(r"\((-?[\d.]+) ± ([\d.]+)\)", linear), strict=True):
        assert float(difference) == pytest.approx(rows["linear", length] - rows["none", length], abs=0.5 * float(error))
    assert "in brackets Δnll against rope=none" in caption


def test_rows_that_no_baseline_fits_say_so(run, experiment, tmp_path):
    sweep = [{"rope": [{"type": "none"}], "windows.length": [32, 64]}, {"rope": [{"type": "linear", "factor": 2}], "windows.length": [48]}]
    assert run("run", experiment({"sweep": sweep}), "--results", tmp_path / "results").returncode == 0
    text = run("show", tmp_path / "results", "--baseline", "rope=none").stdout
    assert text.count("(no baseline)") == 1 and text.count("(baseline)") == 2


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
