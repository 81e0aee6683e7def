"""The five formats of `show`, and its paired comparison."""
import json
import re

import pytest

from support.program import read_csv, read_rows


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
        else:
            assert line["Δnll"] == "other windows"
