"""What tells the rows of a table apart, and what stands under it: no two rows may look the same."""
import copy
import json
import re
import shutil
import subprocess
import sys

import pytest

from support.program import REPO, TINY_BOOKS, assert_one_line, copy_of_tiny_books, read_csv, read_rows

FORMATS = ["table", "csv", "markdown", "latex", "json"]
W4, W3 = ([{"match": "layers.*", "weight": {"type": "rtn", "bits": bits, "group": 64}}] for bits in (4, 3))


@pytest.fixture
def shown(run, tmp_path):
    """shown(row...) -> run("show", a folder of these rows, argument...), without a plan, as a copy of cells is."""

    def show_rows(rows, *arguments):
        folder = tmp_path / "rows"
        shutil.rmtree(folder, ignore_errors=True)
        for row in rows:
            cell = folder / "cells" / row["id"]
            cell.mkdir(parents=True, exist_ok=True)
            (cell / "row.json").write_text(json.dumps(row), encoding="utf-8")
        return run("show", folder, *arguments)

    return show_rows


@pytest.fixture(scope="module")
def row(finished):
    """A finished row without axes, and without what older ones do not know, to be changed."""
    row = next(row for row in read_rows(finished[2]).values() if row["config"]["rope"]["type"] == "none")
    kept = {key: value for key, value in row["environment"].items() if key not in ("dtype", "rope")}
    return {key: value for key, value in row.items() if key != "warnings"} | {"axes": {}, "environment": kept}


def changed(row, number, **places):
    """A copy with an id of its own; places: dotted paths with __ for dots."""
    row = copy.deepcopy(row) | {"id": f"{number:016x}"}
    for place, value in places.items():
        *parents, key = place.split("__")
        inner = row
        for parent in parents:
            inner = inner.setdefault(parent, {})
        if value is None:
            inner.pop(key, None)
        else:
            inner[key] = value
    return row


def columns(text):
    return text.splitlines()[0].split(",")


def assert_each_has_a_line(text, format, *rows):
    """A table of a paper has no ids: its lines are counted."""
    if format == "latex":
        assert text.partition("\\midrule")[2].partition("\\bottomrule")[0].count(r"\\") == len(rows), text
    else:
        assert all(row["id"] in text for row in rows), text


# ---- columns

def test_overrides_of_one_experiment_are_columns(run, experiment, tmp_path):
    results, file = tmp_path / "results", experiment({"sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2}]}]})
    for override in ("windows.length=32", "windows.length=64", "windows.bos=false", "quant=" + json.dumps(W4), "quant=" + json.dumps(W3)):
        assert run("run", file, "--results", results, "--set", override).returncode == 0
    for plain in (["--all"], []):
        if not plain:
            (results / "plan.json").unlink()
        lines = read_csv(run("show", results, *plain, "--format", "csv").stdout)
        assert len(lines) == 10
        rows = read_rows(results)
        for line in lines:
            config = rows[line["id"]]["config"]
            bits = config["quant"][0]["weight"]["bits"] if config["quant"] else None
            assert line["windows.length"] == str(config["windows"]["length"]) and line["windows.bos"] == json.dumps(config["windows"]["bos"])
            assert ("W4" in line["quant"], "W3" in line["quant"]) == (bits == 4, bits == 3)
        assert not {"windows.stride", "model.dtype", "rope.type", "windows"} & lines[0].keys()
        assert ("planned" in lines[0]) == bool(plain)
        table = run("show", results, *plain).stdout.splitlines()
        body = [line for line in table[2:table.index("")]]
        assert "windows.bos" in table[0] and len(set(body)) == len(body)


def test_the_smallest_part_that_differs_is_the_column(shown, row):
    quant = [{"match": "*", "weight": {"type": "rtn", "bits": 4, "group": 64}}]
    three = [{"match": "*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]
    for changes, column, cells in (
            ([{"config__quant": quant}, {"config__quant": three}], "quant[0].weight.bits", ["4", "3"]),
            ([{"config__quant": quant}, {"config__quant": []}], "quant", ["rtn W4 g64", "none"]),
            ([{"config__rope": {"type": "yarn", "factor": 2}}, {"config__rope": {"type": "yarn", "factor": 4}}], "rope.factor", ["2", "4"]),
            ([{"config__rope": {"type": "yarn", "factor": 2}}, {"config__rope": {"type": "none"}}], "rope", ["yarn ×2", "none"]),
            ([{"config__windows__stride": 16}, {}], "windows.stride", ["16", str(row["config"]["windows"]["length"])]),
            ([{"config__calibration": {"samples": 1}}, {"config__calibration": {"samples": 2}}], "calibration.samples", ["1", "2"]),
            ([{"config__seed": 1}, {"config__seed": None}], "seed", ["1", ""]),
            ([{"config__odd": {"a": [1, 2]}}, {"config__odd": {"a": [1, 3]}}], "odd.a", ["1 + 2", "1 + 3"])):
        rows = [changed(row, number, **change) for number, change in enumerate(changes)]
        text = shown(rows, "--format", "csv").stdout
        assert columns(text)[3] == column and columns(text)[4] == "nll", text
        assert [line[column] for line in read_csv(text)] == cells
        found = json.loads(shown(rows, "--format", "json").stdout)
        assert [column in line.get("differs", {}) for line in found] == [cell != "" for cell in cells]


def test_what_an_axis_says_is_no_column(shown, row):
    rope = lambda factor: {"type": "yarn", "factor": factor}  # noqa: E731
    for changes in (
            [{"axes": {"rope": rope(2)}, "config__rope": rope(2)}, {"axes": {"rope": rope(4)}, "config__rope": rope(4)}],
            [{"axes": {"rope.factor": factor}, "config__rope": rope(factor)} for factor in (2, 4)],
            [{"axes": {"windows.length": length}, "config__windows__length": length, "config__windows__stride": length} for length in (32, 48)],
            # A control of a search lacks the axes below the block that it replaces.
            [{"axes": {"rope": {"type": "none"}}}, {"axes": {"rope.factor": 2}, "config__rope": rope(2)}],
            # Quantizers that look at no texts have no calibration.
            [{"axes": {"quant": []}}, {"axes": {"quant": W4}, "config__quant": W4, "config__calibration": {"samples": 1}}]):
        rows = [changed(row, number, **change) for number, change in enumerate(changes)]
        axes = list(dict.fromkeys(axis for change in changes for axis in change["axes"]))
        assert columns(shown(rows, "--format", "csv").stdout)[3:4 + len(axes)] == [*axes, "nll"]
        assert all("differs" not in line for line in json.loads(shown(rows, "--format", "json").stdout))


def test_one_format_in_other_layers_is_another_label(shown, row):
    rules = lambda match: [{"match": match, "weight": {"type": "rtn", "bits": 3, "group": 64}}]  # noqa: E731
    matches = ["layers.*", "layers.*.mlp.*", "layers.*.self_attn.{q,k}_proj"]
    rows = [changed(row, number, axes={"quant": rules(match)}, config__quant=rules(match)) for number, match in enumerate(matches)]
    assert [line["quant"] for line in read_csv(shown(rows, "--format", "csv").stdout)] == [f"rtn W3 g64 in {match}" for match in matches]
    assert [line["labels"]["quant"] for line in json.loads(shown(rows, "--format", "json").stdout)] == [f"rtn W3 g64 in {match}" for match in matches]
    assert [line["axes"]["quant"] for line in json.loads(shown(rows, "--format", "json").stdout)] == [rules(match) for match in matches]
    assert read_csv(shown(rows[:1], "--format", "csv").stdout)[0]["quant"] == "rtn W3 g64"


def test_stored_bits_are_columns_where_rows_differ_in_them(shown, row):
    lengths = [(number, length) for number, length in enumerate((32, 48))]
    rows = [changed(row, 2 * number + (bits is not None), axes={"windows.length": length, "quant": W4 if bits else []}, bits_per_weight=bits or 16,
                    config__quant=W4 if bits else [], config__windows__length=length, config__windows__stride=length)
            for number, length in lengths for bits in (None, 4.3125)]
    table = shown(rows, "--format", "markdown").stdout.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[:4]]
    assert cells[0] == ["quant", "bits_per_weight", "32", "48"] and [line[:2] for line in cells[2:]] == [["none", "16"], ["rtn W4 g64", "4.312"]]
    assert [line["bits_per_weight"] for line in read_csv(shown(rows, "--format", "csv").stdout)] == ["16", "4.3125"] * 2
    older = [{key: value for key, value in line.items() if not key.startswith("bits_")} for line in rows]
    assert "bits_per" not in shown(older).stdout


def test_rows_that_lack_an_axis_and_differ_there_get_it_from_their_configuration(shown, row):
    rows = [changed(row, 0, axes={"seed": 1}, config__seed=1), changed(row, 1, config__seed=2), changed(row, 2, config__seed=3)]
    assert [line["seed"] for line in read_csv(shown(rows, "--format", "csv").stdout)] == ["1", "2", "3"]


def test_what_auto_came_to_is_a_column_where_it_differs(shown, row):
    auto = {"config__model__dtype": "auto", "config__model__device": "auto"}
    rows = [changed(row, 0, **auto, environment__dtype="float32", environment__device="cpu"),
            changed(row, 1, **auto, environment__dtype="bfloat16", environment__device="cuda:3", config__seed=1)]
    lines = read_csv(shown(rows, "--format", "csv").stdout)
    assert [(line["environment.dtype"], line["environment.device"]) for line in lines] == [("float32", "cpu"), ("bfloat16", "cuda")]
    rows = [changed(row, number, config__model__dtype=dtype, environment__dtype=dtype, config__model__device=device, environment__device=device)
            for number, (dtype, device) in enumerate([("float32", "cpu"), ("bfloat16", "cuda:1")])]
    assert columns(shown(rows, "--format", "csv").stdout)[3:6] == ["model.device", "model.dtype", "nll"]  # which say it already
    rows = [changed(row, number, **auto, environment__dtype=dtype, config__seed=number) for number, dtype in enumerate([None, "float32"])]
    assert "environment.dtype" not in shown(rows, "--format", "csv").stdout  # an older row does not know


def test_the_report_has_the_columns_of_show(run, experiment, tmp_path):
    results, file = tmp_path / "results", experiment({"sweep": None})
    for override in ("windows.length=32", "windows.length=64"):
        assert run("run", file, "--results", results, "--set", override).returncode == 0
    (results / "plan.json").unlink()
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", results], capture_output=True, text=True, check=False)
    assert written.returncode == 0, written.stderr
    text = (results / "report.md").read_text(encoding="utf-8")
    assert "| 32 | 64 |" in text and "windows.stride" not in text.split("## Where")[0]


# ---- the caption

def caption(process):
    assert process.returncode == 0, process.stderr
    return process.stdout.split("\n\n")[1]


@pytest.mark.parametrize(("config", "found", "words"), [
    ({"type": "none"}, None, "; rope none;"), ({"type": "yarn", "factor": 8.0, "beta_fast": 32.0, "beta_slow": 1.0, "ramp": "index", "truncate": True}, None, "; rope yarn ×8;"),
    ({"type": "yarn", "factor": 8, "beta_fast": 16, "beta_slow": 1, "ramp": "index", "truncate": True}, None, "; rope yarn ×8 beta_fast=16;"),
    ({"type": "linear", "factor": "auto"}, None, "; rope linear;"), ({"type": "model"}, None, "; rope model;"), ({"type": "model"}, {"type": "none"}, "; rope model (plain);"),
    ({"type": "model"}, {"type": "llama3", "factor": 8, "low_freq_factor": 1}, "; rope model (llama3 ×8 low_freq_factor=1);"),
    ({"type": "of_tomorrow", "x": 1}, None, "; rope of_tomorrow x=1;")])
def test_the_caption_has_the_rope_scheme(shown, row, config, found, words):
    assert words in caption(shown([changed(row, 0, config__rope=config, environment__rope=found)]))


def test_the_caption_of_a_run_has_what_config_json_says(run, experiment, tmp_path):
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
    for name, changes, words in (("plain", {}, "; rope model (plain);"), ("scaled", {"rope_scaling": scaling}, "; rope model (llama3 ×8 ")):
        model = copy_of_tiny_books(tmp_path / name, **changes)
        file = experiment({"model.path": str(model), "model.dtype": None, "windows.length": 32, "sweep": None}, f"{name}.yaml")
        text = caption(run("run", file, "--results", tmp_path / f"results-{name}"))
        assert words in text and re.search(r", auto \((float32|bfloat16|float16)\); rope", text), text


def test_the_caption_says_swept_where_schemes_differ(finished, run, shown, row):
    assert "; rope swept;" in caption(run("show", finished[2]))
    rows = [changed(row, number, config__rope={"type": "model"}, config__model__path=path, environment__rope=rope)
            for number, (path, rope) in enumerate((("a", {"type": "none"}), ("b", {"type": "linear", "factor": 2})))]
    assert "; rope model (swept);" in caption(shown(rows))


def test_the_caption_has_the_dtype_that_auto_came_to(shown, row):
    auto = {"config__model__dtype": "auto"}
    assert f"{TINY_BOOKS}, auto (float32);" in caption(shown([changed(row, 0, **auto, environment__dtype="float32")]))
    assert ", float32;" in caption(shown([changed(row, 0, environment__dtype="float32")]))
    assert ", auto;" in caption(shown([changed(row, 0, **auto)]))
    rows = [changed(row, number, **auto, environment__dtype=dtype, config__seed=number) for number, dtype in enumerate(["float32", "float16"])]
    assert ", auto (swept);" in caption(shown(rows))


def test_the_caption_has_what_is_done_to_the_model_where_no_column_does(shown, row):
    assert "quant" not in caption(shown([row]))
    quant = [{"match": "*", "weight": {"type": "rtn", "bits": 4, "group": 64}}]
    kv = {"type": "fake_quant", "key": {"type": "rtn", "bits": 4}}
    text = caption(shown([changed(row, 0, config__quant=quant, config__kv=kv)]))
    assert "; quant rtn W4 g64; kv fake_quant key=rtn K4;" in text
    assert "quant rtn" not in caption(shown([changed(row, 1, config__quant=quant, axes={"quant": quant}), changed(row, 0, axes={"quant": []})]))


def test_each_warning_stands_under_the_table_once(shown, row, tmp_path):
    first, second = "config.json: key 'foo' is not known", "calibration text overlaps with 'kiln'"
    rows = [changed(row, number, config__seed=number, warnings=warnings) for number, warnings in enumerate(([first, first], [first, second], []))]
    for format in ("table", "markdown", "latex"):
        lines = shown(rows, "--format", format).stdout.splitlines()
        assert [line.removeprefix("% ") for line in lines if line.removeprefix("% ").startswith("warning")] == [f"warning (2 of 3 rows): {first}", f"warning (1 of 3 rows): {second}"]
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", tmp_path / "rows"], capture_output=True, text=True, check=False)
    assert written.returncode == 0, written.stderr
    report = (tmp_path / "rows/report.md").read_text(encoding="utf-8")
    assert f"warning (2 of 3 rows): {first}" in report and "; rope none;" in report


def test_the_report_s_caption_is_that_of_show(finished, run, tmp_path):
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", finished[2], "--out", tmp_path], capture_output=True, text=True, check=False)
    assert written.returncode == 0, written.stderr
    assert caption(run("show", finished[2])).strip() in (tmp_path / "report.md").read_text(encoding="utf-8")


# ---- values that are none

@pytest.mark.parametrize("format", FORMATS)
def test_a_perplexity_beyond_double_is_infinite_in_every_format(shown, row, format):
    metrics = {"perplexity": {"value": None, "stderr": None, "count": 9}, "nll": {"value": 1234.5, "stderr": 1.0, "count": 9}}
    process = shown([changed(row, 0, metrics=metrics), changed(row, 1, config__seed=1)], "--format", format)
    assert process.returncode == 0, process.stderr
    if format == "json":  # which has no infinity
        assert json.loads(process.stdout)[0]["metrics"] == metrics
    elif format == "csv":
        assert [float(line["perplexity"]) for line in read_csv(process.stdout)] == [float("inf"), row["metrics"]["perplexity"]["value"]]
    else:
        assert ("{inf} " if format == "latex" else " inf ") in process.stdout and "nan" not in process.stdout


def test_the_report_of_an_infinite_perplexity_is_written(shown, row, tmp_path):
    metrics = {"perplexity": {"value": None, "stderr": None, "count": 9}, "nll": {"value": 1234.5, "stderr": 1.0, "count": 9}}
    assert shown([changed(row, 0, metrics=metrics), changed(row, 1, config__seed=1)]).returncode == 0
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", tmp_path / "rows"], capture_output=True, text=True, check=False)
    assert written.returncode == 0, written.stderr
    assert "| inf |" in (tmp_path / "rows/report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("format", FORMATS)
def test_rows_without_metrics_are_shown(shown, row, format):
    rows = [changed(row, 0, metrics={}), changed(row, 1, metrics={}, config__seed=1)]
    process = shown(rows, "--format", format)
    assert process.returncode == 0
    assert_each_has_a_line(process.stdout, format, *rows)
    place = r"cells/\textless{}id\textgreater{}/diagnostics" if format == "latex" else "cells/<id>/diagnostics"
    assert format in ("csv", "json") or f"no metrics; what diagnostics found is in {place}; model" in process.stdout
    rows[1] = changed(row, 1, config__seed=1)
    process = shown(rows, "--format", format)
    assert process.returncode == 0
    assert_each_has_a_line(process.stdout, format, *rows)


# ---- rows of another hand

@pytest.mark.parametrize(("change", "named"), [
    ({"environment__commit": 5}, "'/environment/commit' is of type number"),
    ({"metrics": None}, "'/metrics' is missing"), ({"axes": [1]}, "'/axes' is of type array"), ({"config": 3}, "'/config' is of type number"),
    ({"environment": None}, "'/environment' is missing"), ({"status": None}, "'/status' is missing"), ({"id": "x", "status": 1}, "'/status' is of type number"),
    ({"metrics": {"nll": 3}}, "'/metrics/nll' is no object"), ({"metrics__nll__value": "3"}, "'/metrics/nll/value' is of type string"),
    ({"warnings": [3]}, "'/warnings' holds something that is no string"), ({"search": {"g": 3}}, "'/search/g' is of type number")])
def test_a_row_of_another_shape_is_marked_and_named_in_one_line(shown, row, tmp_path, change, named):
    folder = tmp_path / "rows/cells" / changed(row, 0, **change)["id"]
    for format in FORMATS:
        rows = [changed(row, 0, **change), changed(row, 1)]
        process = shown(rows, "--format", format)
        assert process.returncode == 0 and "damaged" in process.stdout
        assert_each_has_a_line(process.stdout, format, *rows)
        assert process.stderr.count("\n") == 1
        for part in (f"{folder / 'row.json'}: ", named, "delete it, and `qroar run` runs the cell again"):
            assert part in process.stderr


@pytest.mark.parametrize("change", [
    {"error": None}, {"experiment": None}, {"seconds": None, "tokens_per_second": None, "model_tflops_per_second": None, "peak_bytes": None},
    {"environment": {}}, {"config": {}}, {"config__windows": None}, {"config__model": 3}, {"config__rope": "yarn"}, {"config__rope": None},
    {"status": "failed", "metrics": {}, "error": None}, {"metrics": {"perplexity": {}}}, {"axes": {"~": 1, "a/b": {"type": 3, "pad": 1, "path": []}}},
    {"config__quant": {"type": "bands", "variant": 3, "search": 4}}])
def test_a_row_that_lacks_what_is_not_needed_is_shown(shown, row, change):
    for format in FORMATS:
        for rows in ([changed(row, 0, **change)], [changed(row, 0, **change), changed(row, 1, config__seed=1)]):
            process = shown(rows, "--format", format)
            assert process.returncode == 0, process.stderr
            assert_each_has_a_line(process.stdout, format, *rows)
