"""The five formats of `show`, and its paired comparison."""
import json
import re

import pytest

from support.program import TEXT, assert_one_line, read_csv, read_rows


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
    assert {row["id"]: row for row in json.loads(run("show", results, "--format", "json").stdout)} == read_rows(results)


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


def test_a_baseline_adds_paired_differences(finished, run):
    _, _, results = finished
    rows = read_rows(results)
    baseline = next(cell for cell, row in rows.items() if row["axes"]["rope"]["type"] == "none" and row["axes"]["windows.length"] == 64)
    table = read_csv(run("show", results, "--format", "csv", "--baseline", baseline[:8]).stdout)
    for line in table:
        row = rows[line["id"]]
        if line["id"] == baseline:
            assert (line["Δnll"], line["ppl ratio"]) == ("baseline", "1")
        elif row["axes"]["windows.length"] == 64:
            difference = row["metrics"]["nll"]["value"] - rows[baseline]["metrics"]["nll"]["value"]
            assert float(line["Δnll"].split(" ±")[0]) == pytest.approx(difference, abs=0.5 * float(line["Δnll"].split("± ")[1]))
            assert line["paired windows"] == "2"
            # Of two documents every fourth draw is twice the first, and every fourth twice the second.
            windows = [read_csv((results / "cells" / cell / "windows.csv").read_text(encoding="utf-8")) for cell in (line["id"], baseline)]
            own = sorted((float(a["nll_sum"]) - float(b["nll_sum"])) / int(a["tokens"]) for a, b in zip(*windows))
            assert [float(end) for end in line["95 % over documents"].split(" .. ")] == pytest.approx(own, abs=6e-5)
        else:
            assert line["Δnll"] == "other windows"


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
    assert_one_line(run("show", results, "--baseline", baseline), *parts)


def test_texts_run_across_where_lengths_do_not(run, experiment, tmp_path):
    (tmp_path / "other.txt").write_text("Not much of a text, yet it can be scored. " * 20, encoding="utf-8")
    sweep = [{"data": [{"path": str(TEXT)}, {"path": str(tmp_path / "other.txt")}], "rope": [{"type": "none"}, {"type": "yarn", "factor": 2}]}]
    assert run("run", experiment({"sweep": sweep}), "--results", tmp_path / "results").returncode == 0
    header, _, *lines = run("show", tmp_path / "results").stdout.split("\n\n")[0].splitlines()
    assert header.split() == ["rope", "text", "other"] and len(lines) == 2
