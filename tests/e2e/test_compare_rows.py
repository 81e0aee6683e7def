"""scripts/compare_rows on rows of the program itself: what it calls the same, and what it calls a difference."""
import json
import shutil
import subprocess
import sys

import pytest

from support.program import REPO, assert_one_line, read_rows


def compare(*arguments):
    return subprocess.run([sys.executable, REPO / "scripts/compare_rows", *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def copied(finished, run, tmp_path):
    """(the finished results, a copy to change, change(row's id, function)), rows.jsonl made again from the cells."""
    copy = tmp_path / "copy"
    shutil.copytree(finished[2], copy)

    def change(cell, function):
        file = copy / "cells" / cell / "row.json"
        row = json.loads(file.read_text(encoding="utf-8"))
        function(row)
        file.write_text(json.dumps(row), encoding="utf-8")
        assert run("collect", copy).stderr == ""  # it returns 1 where a cell failed

    return finished[2], copy, change


def cell_of(results):
    return min(read_rows(results))


def assert_differs(process, *parts, lines=1):
    assert process.returncode == 1 and process.stderr == "", process.stderr
    assert process.stdout.count("\n") == lines, process.stdout
    for part in parts:
        assert part in process.stdout


def test_another_run_of_the_experiment_has_the_same_bits(finished, run, tmp_path):
    assert run("run", finished[1], "--results", tmp_path / "again").returncode == 0
    for old, new in ((finished[2], tmp_path / "again"), (finished[2] / "rows.jsonl", tmp_path / "again/rows.jsonl")):
        process = compare(old, new)
        assert (process.returncode, process.stdout, process.stderr) == (0, "4 rows, the same bits\n", "")


@pytest.mark.parametrize("field", ["value", "stderr", "count"])
def test_the_last_bit_of_a_metric_is_a_difference(copied, field):
    old, new, change = copied
    cell = cell_of(old)
    kept = read_rows(old)[cell]["metrics"]["nll"][field]
    changed = kept + 1 if field == "count" else kept * (1 + 2.0 ** -52)
    change(cell, lambda row: row["metrics"]["nll"].update({field: changed}))
    assert_differs(compare(old, new), cell, f"metrics.nll.{field} {kept!r} -> {changed!r}")


def test_costs_times_and_the_program_are_none_and_what_was_read_is(copied):
    old, new, change = copied
    cell = cell_of(old)
    change(cell, lambda row: row.update(seconds=7, peak_bytes=1) or row["environment"].update(commit="other", host="h", started="s", threads=64))
    assert compare(old, new).stdout == "4 rows, the same bits\n"
    change(cell, lambda row: row["environment"]["inputs"].update(data="0" * 32))
    assert_differs(compare(old, new), cell, "environment.inputs.data")


def test_a_table_of_a_cell_is_compared_byte_by_byte(copied):
    old, new, _ = copied
    cell = cell_of(old)
    windows = new / "cells" / cell / "windows.csv"
    lines = windows.read_text(encoding="utf-8").splitlines()
    windows.write_text("\n".join([lines[0], lines[1] + "1", *lines[2:]]) + "\n", encoding="utf-8")
    assert_differs(compare(old, new), f"{cell}: windows.csv line 2: {lines[1]} -> {lines[1]}1")
    windows.unlink()
    assert_differs(compare(old, new), f"{cell}: windows.csv is only in {old}")
    assert compare(old / "rows.jsonl", new / "rows.jsonl").returncode == 0


def test_a_row_of_one_side_and_a_failed_one_are_differences(copied):
    old, new, change = copied
    cell = cell_of(old)
    change(cell, lambda row: row.update(status="failed", error="no memory", metrics={}))
    assert_differs(compare(old, new), 'status "ok" -> "failed"', "metrics.nll.value", "-> nothing", lines=16)
    shutil.rmtree(new / "cells" / cell)
    change(max(read_rows(old)), lambda row: None)
    assert_differs(compare(old, new), cell, f"only in {old}")


def test_ids_may_differ_where_the_configurations_do_in_the_keys_named_alone(experiment, run, tmp_path, finished):
    """A copy of the model at another path: another id, the same numbers."""
    config = REPO / "configs/models/tiny-books"
    shutil.copytree(config, tmp_path / "model")
    assert run("run", experiment({"model.path": str(tmp_path / "model")}), "--results", tmp_path / "moved").returncode == 0
    assert_differs(compare(finished[2], tmp_path / "moved"), "only in", lines=8)
    assert compare(finished[2], tmp_path / "moved", "--except", "model.path").stdout == "4 rows, the same bits\n"
    assert compare(finished[2], tmp_path / "moved", "--except", "model").returncode == 0
    assert_one_line(compare(finished[2], tmp_path / "moved", "--except", "model", "--except", "windows"), "compare_rows: ", "2 new rows", "fewer keys")


def test_what_is_no_results_folder_is_refused(finished, tmp_path):
    assert_one_line(compare(finished[2], tmp_path), f"{tmp_path}/rows.jsonl: no such file", "qroar run")
    for content in ("{", "[1]", '{"no": "id"}'):
        (tmp_path / "rows.jsonl").write_text(content, encoding="utf-8")
        assert_one_line(compare(finished[2], tmp_path / "rows.jsonl"), "holds no rows", "qroar collect")
    (tmp_path / "rows.jsonl").write_text("", encoding="utf-8")
    assert_one_line(compare(finished[2], tmp_path / "rows.jsonl"), "no rows")
