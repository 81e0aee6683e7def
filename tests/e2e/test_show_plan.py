"""Whose a results folder is, and rows of cells that its plan no longer has."""
import json
import shutil
import subprocess
import sys

import pytest
import yaml

from support.program import REPO, TEXT, assert_one_line, experiment_of, read_csv, read_rows, shown_rows
from support.sweep import finish, rows_file

ONE = {"sweep": None}


def write(path, changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(experiment_of(changes), sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def two(tmp_path):
    """Two experiments of one file name, of windows of 32 and 64 tokens."""
    return [write(tmp_path / folder / "exp.yaml", ONE | {"windows.length": length}) for folder, length in (("a", 32), ("b", 64))]


def lengths(results):
    return sorted(row["config"]["windows"]["length"] for row in read_rows(results).values())


# ---- whose a folder is

def test_another_experiment_of_that_name_is_refused_before_anything_is_written(two, run, tmp_path):
    a, b = two
    assert run("run", a, cwd=tmp_path).returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()}
    into = tmp_path / "packed"
    for arguments in (["run", b], ["run", b, "--devices", "cpu,cpu"], ["pack", b, "--into", into], ["run", b, "--results", "results/exp"],
                      ["run", b, "--rerun"], ["run", b, "--set", "windows.length=32"]):
        assert_one_line(run(*arguments, cwd=tmp_path), "results/exp", a, b, "--results", "results/exp/plan.json")
    assert {path: path.read_bytes() for path in (tmp_path / "results").rglob("*") if path.is_file()} == before and not into.exists()
    assert run("run", b, "--results", "results/b", cwd=tmp_path).returncode == 0
    assert lengths(tmp_path / "results/exp") == [32] and lengths(tmp_path / "results/b") == [64]
    (tmp_path / "results/exp/plan.json").unlink()  # the other remedy that the error names
    assert run("run", b, cwd=tmp_path).returncode == 0


def test_an_edited_file_and_other_overrides_are_the_same_experiment(two, run, tmp_path):
    a, _ = two
    results = tmp_path / "out"
    assert run("run", a, "--results", results).returncode == 0
    write(a, ONE | {"windows.length": 48})
    assert run("run", a, "--results", results).returncode == 0
    assert run("run", a, "--results", results, "--set", "seed=3").returncode == 0
    assert lengths(results) == [32, 48, 48]


def test_one_file_by_another_path_or_a_link_is_the_same_experiment(two, run, tmp_path):
    a, _ = two
    results = tmp_path / "out"
    assert run("run", a, "--results", results).returncode == 0
    plan = (results / "plan.json").read_bytes()
    (tmp_path / "link.yaml").symlink_to(a)
    (tmp_path / "folder").symlink_to(a.parent)
    for path, cwd in (("exp.yaml", a.parent), ("../a/exp.yaml", a.parent), (tmp_path / "link.yaml", None), (tmp_path / "folder/exp.yaml", None)):
        process = run("run", path, "--results", results, cwd=cwd)
        assert process.returncode == 0 and "1 of 1 cells were finished already" in process.stderr and "belong" not in process.stderr
        assert (results / "plan.json").read_bytes() == plan


def test_what_was_moved_keeps_its_results_and_the_log_says_so(two, run, tmp_path):
    a, b = two
    assert run("run", a, cwd=tmp_path).returncode == 0
    moved = a.rename(tmp_path / "moved.yaml")
    process = run("run", moved, "--results", tmp_path / "results/exp")
    assert process.returncode == 0
    assert f"belonged to the experiment {a}, which is no longer there, and belongs to {moved} now" in process.stderr
    assert_one_line(run("run", b, cwd=tmp_path), moved, b)
    # The whole checkout, or another mount of it on another machine.
    inside = write(tmp_path / "checkout/experiments/exp.yaml", ONE)
    assert run("run", inside, cwd=tmp_path / "checkout").returncode == 0
    (tmp_path / "checkout").rename(tmp_path / "renamed")
    process = run("run", "experiments/exp.yaml", cwd=tmp_path / "renamed")
    assert process.returncode == 0 and "1 of 1 cells were finished already" in process.stderr


@pytest.mark.parametrize("damage", [
    lambda plan: plan.write_text('{"cells": [', encoding="utf-8"), lambda plan: plan.write_text("[]", encoding="utf-8"),
    lambda plan: plan.write_text('{"file": 3, "cells": 4}', encoding="utf-8"),
    lambda plan: plan.write_text(json.dumps({key: value for key, value in json.loads(plan.read_text()).items() if key != "file"}), encoding="utf-8"),
], ids=["cut", "list", "types", "older version"])
def test_a_plan_that_names_no_owner_is_no_obstacle(two, run, tmp_path, damage):
    a, b = two
    assert run("run", a, cwd=tmp_path).returncode == 0
    damage(tmp_path / "results/exp/plan.json")
    assert run("run", b, cwd=tmp_path).returncode == 0
    assert_one_line(run("run", a, cwd=tmp_path), b, "--results")


def test_a_packed_copy_belongs_to_its_original_also_when_that_is_gone(two, run, tmp_path):
    a, b = two
    results = tmp_path / "out"
    assert run("run", a, "--results", results, "--set", "windows.length=48").returncode == 0
    packed = run("pack", a, "--results", results, "--into", results / "submissions/1")
    assert packed.returncode == 0, packed.stderr
    copy = packed.stdout.strip()
    again = run("pack", copy, "--results", results, "--into", tmp_path / "again", cwd=tmp_path)  # a copy of the copy
    assert again.returncode == 0, again.stderr
    assert run("run", b, "--results", tmp_path / "of_b").returncode == 0
    assert_one_line(run("run", copy, "--results", tmp_path / "of_b"), f" {a} ", b)
    a.unlink()
    for path in (copy, again.stdout.strip()):
        process = run("run", path, "--results", results)
        assert process.returncode == 0 and "belong" not in process.stderr, process.stderr
    assert lengths(results) == [32, 48] and json.loads((results / "plan.json").read_text(encoding="utf-8"))["file"] == str(a)


def test_of_two_experiments_that_begin_at_once_one_gets_the_folder(two, start, tmp_path):
    for number in range(5):
        results = tmp_path / str(number)
        processes = [start("run", file, "--results", results) for file in two]
        logs = [process.communicate(timeout=120)[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert sorted(codes) == [0, 1], logs
        assert "--results" in logs[codes.index(1)]
        assert json.loads((results / "plan.json").read_text(encoding="utf-8"))["file"] == str(two[codes.index(0)])


def test_processes_of_one_experiment_that_begin_at_once_share_the_folder(two, start, tmp_path):
    for process in [start("run", two[0], "--results", tmp_path / "out") for _ in range(4)]:
        finish(process)


# ---- rows that the plan no longer has

@pytest.fixture
def edited(run, tmp_path):
    """(file, results, the process after the edit): a factor of 2 became 4."""
    file, results = tmp_path / "exp.yaml", tmp_path / "results"
    for factor in (2, 4):
        write(file, {"sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": factor}]}]})
        process = run("run", file, "--results", results)
        assert process.returncode == 0, process.stderr
    return file, results, process


def test_a_row_whose_value_was_edited_away_is_left_out_and_counted(edited, run):
    _, results, process = edited
    assert len(read_rows(results)) == 3
    for format in ("table", "markdown", "latex"):
        shown = run("show", results, "--format", format)
        text = shown.stdout.replace(r"$\times$", "×")
        assert "×4" in text and "×2" not in text
        assert "1 row of a cell that the plan no longer has is left out; show --all has it\n" in shown.stdout
    assert process.stdout == run("show", results).stdout == run("collect", results).stdout
    csv, rows = run("show", results, "--format", "csv"), run("show", results, "--format", "json")
    assert len(read_csv(csv.stdout)) == len(json.loads(rows.stdout)) == 2
    assert all("1 row of a cell that the plan no longer has is left out" in process.stderr for process in (csv, rows))
    assert all(row == read_rows(results)[cell] for cell, row in shown_rows(rows).items())


def test_all_shows_and_marks_it(edited, run):
    _, results, _ = edited
    lines = {line["rope"]: line["planned"] for line in read_csv(run("show", results, "--all", "--format", "csv").stdout)}
    assert lines == {"none": "true", "linear ×4": "true", "linear ×2": "false"}
    shown = run("show", results, "--all").stdout
    assert "left out" not in shown and [line.split()[-1] for line in shown.splitlines() if "×2" in line] and " planned " in shown.splitlines()[0]
    marks = {row["axes"]["rope"].get("factor"): row["differs"] for row in json.loads(run("show", results, "--all", "--format", "json").stdout)}
    assert marks == {None: {"planned": True}, 4: {"planned": True}, 2: {"planned": False}}


def test_rows_jsonl_keeps_every_cell(edited, run):
    _, results, _ = edited
    assert {row["id"]: row for row in rows_file(results)} == read_rows(results)
    assert run("collect", results).returncode == 0
    assert len(rows_file(results)) == 3


def test_the_report_leaves_it_out_and_says_so(edited):
    _, results, _ = edited

    def report(*options):
        written = subprocess.run([sys.executable, REPO / "scripts/report.py", results, *options], capture_output=True, text=True, check=False)
        assert written.returncode == 0, written.stderr
        return (results / "report.md").read_text(encoding="utf-8")

    text = report()
    assert "2 cells finished" in text and "linear ×4" in text and "×2" not in text
    assert "1 row of a cell that the plan no longer has is left out" in text
    text = report("--all")
    assert "3 cells finished" in text and "linear ×2" in text and "planned" in text


def test_a_folder_without_a_plan_shows_every_row(edited, run):
    _, results, _ = edited
    (results / "plan.json").unlink()
    shown = run("show", results).stdout
    assert "×4" in shown and "×2" in shown and "plan" not in shown
    assert run("collect", results).returncode == 0


def test_collect_judges_the_cells_of_the_plan_alone(edited, run):
    _, results, _ = edited
    rows = read_rows(results)
    old = next(cell for cell, row in rows.items() if row["axes"]["rope"].get("factor") == 2)
    row = rows[old] | {"status": "failed", "error": "of old", "metrics": {}}
    (results / "cells" / old / "row.json").write_text(json.dumps(row), encoding="utf-8")
    collected = run("collect", results)
    assert collected.returncode == 0 and "of old" not in collected.stdout
    assert "failed " + old in run("show", results, "--all").stdout
    (results / "plan.json").unlink()
    assert run("collect", results).returncode == 1


def test_a_sweep_all_of_whose_rows_are_old_says_how_to_see_them(edited, run, start):
    file, results, _ = edited
    plan = json.loads((results / "plan.json").read_text(encoding="utf-8"))
    plan["cells"] = [plan["cells"][0] | {"id": "0" * 16}]
    (results / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    shown = run("show", results)
    assert shown.returncode == 0 and shown.stdout.startswith("1 cells: 0 done") and "3 rows of cells that the plan no longer has are left out; show --all has them" in shown.stdout
    assert_one_line(run("show", results, "--format", "csv"), "no finished cells yet", "show --all")
    shown = run("show", results, "--all")
    assert "×2" in shown.stdout and "1 cells: 0 done" in shown.stdout


def test_a_damaged_plan_is_named(edited, run):
    file, results, _ = edited
    for text in ('{"cells": [', "[]", '{"cells": 3}', '{"cells": [{"id": 3}]}', '{"cells": [{"id": "x", "axes": {}}]}', '{"cells": [7]}'):
        (results / "plan.json").write_text(text, encoding="utf-8")
        assert_one_line(run("show", results), results / "plan.json", "delete it, and `qroar run` writes it again")
    shutil.rmtree(results / "claims", ignore_errors=True)
    assert run("run", file, "--results", results).returncode == 0


def test_names_are_for_tables_alone_and_can_be_given_afterwards(run, experiment, tmp_path):
    rope, w3 = {"type": "linear", "factor": 2}, {"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}
    results = tmp_path / "results"
    write = lambda scheme, rule: experiment({"sweep": [{"rope": [{"type": "none"}, scheme], "quant": [[], [rule]]}]})  # noqa: E731
    assert run("run", write(rope, w3), "--results", results).returncode == 0
    before = read_rows(results)
    again = run("run", write(rope | {"name": "PI"}, w3 | {"name": "three bits"}), "--results", results)
    assert again.returncode == 0 and "4 of 4 cells were finished already" in again.stderr
    shown = json.loads(run("show", results, "--format", "json").stdout)
    assert {row["id"] for row in shown} == before.keys()
    assert {(row["labels"]["rope"], row["labels"]["quant"]) for row in shown} == {(a, b) for a in ("none", "PI") for b in ("none", "three bits")}
    assert all("name" not in json.dumps(row["config"]) for row in shown)
    compared = json.loads(run("show", results, "--baseline", "quant=none", "--format", "json").stdout)
    assert sum(row["paired"].get("nll") is not None for row in compared) == 2
    collected = {row["id"]: row["axes"] for row in map(json.loads, (results / "rows.jsonl").read_text(encoding="utf-8").splitlines())}
    assert all(collected[row["id"]] == row["axes"] for row in shown)


def test_texts_have_names(run, experiment, tmp_path):
    data = [{"path": str(TEXT), "documents": count, "name": name} for count, name in ((1, "one"), (2, "two"))]
    assert run("run", experiment({"data": None, "sweep": [{"data": data}]}), "--results", tmp_path / "results").returncode == 0
    assert {row["labels"]["data"] for row in json.loads(run("show", tmp_path / "results", "--format", "json").stdout)} == {"one", "two"}


@pytest.mark.parametrize("name", ["", "a name that is too long for a legend", ["list"], 'a\tb'])
def test_a_name_that_no_legend_can_have_is_one_line(run, experiment, name):
    process = run("check", experiment({"sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 2, "name": name}]}]}))
    assert process.returncode == 1 and len(process.stderr.splitlines()) == 1 and "rope.name: " in process.stderr, process.stderr
