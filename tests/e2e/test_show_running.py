"""What `show` and `collect` say of a sweep that is not finished."""
import json
import re
import shutil
import signal

import pytest

from support.program import copy_of_tiny_books, read_rows, scale_final_norm
from support.sweep import LONG_CELL, assert_clean, claims, finish, held, rows_file, wait_for, windows_done

ROPES = [{"type": "none"}, {"type": "linear", "factor": 2}, {"type": "yarn", "factor": 2}]
THREE = LONG_CELL | {"sweep": [{"rope": ROPES}]}


@pytest.fixture
def halfway(start, experiment, tmp_path):
    """(process, results): it is asleep in the second of three cells."""
    results = tmp_path / "results"
    process = start("run", experiment(THREE), "--results", results)
    wait_for(lambda: len(read_rows(results)) == 1 and windows_done(results) >= 5, process)
    process.send_signal(signal.SIGSTOP)
    yield process, results
    process.kill()
    process.communicate()


def test_show_names_who_runs_a_cell_and_how_far_it_is_and_how_long_the_rest_takes(halfway, run):
    process, results = halfway
    shown = run("show", results)
    assert shown.returncode == 0 and shown.stderr == ""
    (cell,) = (name.removesuffix(".1") for name in claims(results))
    assert "perplexity" in shown.stdout  # the table of what is there
    assert re.search(r"^3 cells: 1 done, 1 running, 0 failed, 1 waiting; about \d+m?\d*s left$", shown.stdout, re.M), shown.stdout
    (line,) = (line for line in shown.stdout.splitlines() if line.startswith(cell))
    assert f":{process.pid} " in line and re.search(r" \d+ % ", line)


def test_show_names_a_process_that_is_gone(halfway, run, start, experiment):
    process, results = halfway
    process.kill()
    process.communicate()
    shown = run("show", results).stdout
    assert re.search(r"^3 cells: 1 done, 0 running, 0 failed, 2 waiting; about \d+m?\d*s of one process left, and none is running$", shown, re.M)
    assert f":{process.pid} " in shown and "gone; the next process takes it over" in shown
    finish(start("run", experiment(THREE), "--results", results))
    assert "cells:" not in run("show", results).stdout  # nothing to say but the table


def test_show_of_a_sweep_without_any_row_tells_its_state_alone(start, run, experiment, tmp_path):
    results = tmp_path / "results"
    process = start("run", experiment(THREE), "--results", results)
    wait_for(lambda: held(results), process)
    process.kill()
    process.communicate()
    shown = run("show", results)
    assert shown.returncode == 0 and shown.stdout.startswith("3 cells: 0 done, 0 running, 0 failed, 3 waiting")
    assert "gone" in shown.stdout and "perplexity" not in shown.stdout


def test_the_time_left_and_the_parts_of_a_sweep_count_tasks_as_work(start, run, experiment, tmp_path):
    # Six cells of 10 short prompts and one of 40 long ones.
    short, long = ({"type": "passkey", "lengths": [length], "depths": [0, 1], "samples": samples} for length, samples in ((96, 5), (512, 20)))
    file = experiment({"data": None, "windows": {"length": 512},
                       "sweep": [{"tasks": [*([short | {"seed": seed}] for seed in range(6)), [long]]}]})
    packed = run("pack", file, "--into", tmp_path / "packed", "--results", tmp_path / "nothing", "--tasks", 2)
    assert packed.returncode == 0, packed.stderr
    assert [line.count(",") for line in (tmp_path / "packed/tasks").read_text(encoding="utf-8").splitlines()] == [5, 0]
    results = tmp_path / "results"
    process = start("run", file, "--results", results)
    wait_for(lambda: len(read_rows(results)) == 6 and windows_done(results) >= 5, process)
    process.send_signal(signal.SIGSTOP)
    shown = run("show", results).stdout
    process.kill()
    process.communicate()
    assert re.search(r"^7 cells: 6 done, 1 running, 0 failed, 0 waiting; about \d+s left$", shown, re.M), shown


def test_what_a_process_killed_right_behind_its_row_leaves_is_no_cell_that_waits_and_goes_with_the_next_run(halfway, run, start, experiment):
    process, results = halfway
    process.kill()
    process.communicate()
    (left,) = (results / "claims").iterdir()
    cell = results / "cells" / left.name.removesuffix(".1")
    shutil.copytree(left, results / "left")
    shutil.copy(cell / "partial.jsonl", results / "left")
    finish(start("run", experiment(THREE), "--results", results))
    shutil.copytree(results / "left", results / "claims" / left.name)  # as if that process had come so far
    (results / "claims" / left.name / "partial.jsonl").rename(cell / "partial.jsonl")
    shutil.rmtree(results / "left")
    token = json.loads((results / "claims" / left.name / "owner.json").read_text(encoding="utf-8"))["token"]
    for file in (cell / f".log.{token}.tmp", results / f".rows.jsonl.{token}.tmp"):
        file.write_text("half", encoding="utf-8")
    assert run("collect", results).returncode == 0
    assert "cells:" not in run("show", results).stdout
    _, log = finish(start("run", experiment(THREE), "--results", results))
    assert "3 of 3 cells were finished already" in log
    assert_clean(results)


def test_collect_fails_while_a_cell_is_missing_and_makes_rows_jsonl_of_what_is_there(halfway, run):
    _, results = halfway
    process = run("collect", results)
    assert process.returncode == 1 and "1 done, 1 running, 0 failed, 1 waiting" in process.stdout
    assert {row["id"]: row for row in rows_file(results)} == read_rows(results) and len(rows_file(results)) == 1


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_text('{"id": ', encoding="utf-8")], ids=["deleted", "damaged"])
def test_collect_rebuilds_rows_jsonl(run, experiment, tmp_path, damage):
    results = tmp_path / "results"
    process = run("run", experiment(), "--results", results)
    before = (results / "rows.jsonl").read_bytes()
    damage(results / "rows.jsonl")
    collected = run("collect", results)
    assert collected.returncode == 0, collected.stderr
    assert collected.stdout == process.stdout
    assert (results / "rows.jsonl").read_bytes() == before
    next(results.glob("cells/*/row.json")).unlink()
    collected = run("collect", results)
    assert collected.returncode == 1 and "4 cells: 3 done, 0 running, 0 failed, 1 waiting" in collected.stdout
    assert len(rows_file(results)) == 3


def test_collect_fails_where_a_cell_failed(run, experiment, tmp_path):
    model, results = copy_of_tiny_books(tmp_path / "model"), tmp_path / "results"
    scale_final_norm(model, 3e4)  # infinite logits in float16
    file = experiment({"model.path": str(model), "sweep": [{"model.dtype": ["float16", "float32"]}]})
    assert run("run", file, "--results", results).returncode == 1
    process = run("collect", results)
    assert process.returncode == 1 and "2 cells: 1 done, 0 running, 1 failed, 0 waiting" in process.stdout


def test_collect_of_a_folder_without_results_is_an_error(run, tmp_path):
    process = run("collect", tmp_path)
    assert process.returncode == 1 and process.stdout == "" and f"{tmp_path}: no results here" in process.stderr
