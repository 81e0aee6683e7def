"""Many processes on one results folder: every cell once, and the rows of a single process, whoever is killed."""
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from support.program import copy_of_tiny_books, experiment_of, read_rows, scale_final_norm
from support.sweep import (LONG_CELL, SMALL_CELLS, assert_clean, begun_cells, claims, finish, held, lasting_rows, wait_for, windows_done)


@pytest.fixture(scope="module")
def serial(run, tmp_path_factory):
    """{id: the lasting part of its row} of 24 cells that one process ran."""
    folder = tmp_path_factory.mktemp("serial")
    file = folder / "experiment.yaml"
    file.write_text(json.dumps(experiment_of(SMALL_CELLS)), encoding="utf-8")
    process = run("run", file, "--results", folder / "results")
    assert process.returncode == 0, process.stderr
    rows = lasting_rows(folder / "results")
    assert len(rows) == 24 and all(row["status"] == "ok" for row in rows.values())
    return rows


def test_eight_processes_run_every_cell_once_and_all_print_the_whole_table(run, start, experiment, serial, tmp_path):
    file, results = experiment(SMALL_CELLS), tmp_path / "results"
    processes = [start("run", file, "--results", results) for _ in range(8)]
    outputs = [finish(process) for process in processes]
    assert lasting_rows(results) == serial
    assert sorted(cell for _, log in outputs for cell in begun_cells(log)) == sorted(serial)
    assert {table for table, _ in outputs} == {run("show", results).stdout}
    assert_clean(results)


class Workers:
    """Three processes on a sweep, each replaced when it is killed."""

    def __init__(self, start, file, results):
        self.start_one = lambda: start("run", file, "--results", results)
        self.results = results
        self.processes = [self.start_one() for _ in range(3)]

    def kill(self, place, replace=True):
        """Whether it was still running, and whether it had a cell."""
        process = self.processes[place]
        process.kill()
        process.communicate()
        had_cell = process.pid in self.owners()
        if replace:
            self.processes[place] = self.start_one()
        return process.returncode == -signal.SIGKILL, had_cell

    def owners(self):
        pids = []
        for owner in self.results.glob("claims/[!.]*/owner.json"):
            with contextlib.suppress(OSError):  # given back by now
                pids.append(json.loads(owner.read_text(encoding="utf-8"))["pid"])
        return pids


def test_fifty_kills_at_random_moments_lose_and_double_nothing(run, start, experiment, serial, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    moments, file, killed, inside = random.Random(seed), experiment(SMALL_CELLS), 0, 0
    for sweep in itertools.count():
        results = tmp_path / str(sweep)
        workers = Workers(start, file, results)
        while killed < 50 and len(read_rows(results)) < len(serial):
            if moments.random() < 0.5:
                wait_for(lambda: workers.owners() or len(read_rows(results)) == len(serial))
            time.sleep(moments.uniform(0, 0.2))
            was_running, had_cell = workers.kill(moments.randrange(3))
            killed, inside = killed + was_running, inside + had_cell
        for place in range(3):
            workers.kill(place, replace=False)
        process = run("run", file, "--results", results)
        assert process.returncode == 0, process.stderr
        assert lasting_rows(results) == serial
        assert run("show", results).stdout == process.stdout
        assert_clean(results)
        if killed == 50:
            break
    assert inside >= 5


def test_two_reruns_at_once_write_every_row_anew(run, start, experiment, tmp_path):
    file, results = experiment(), tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    before, rows = read_rows(results), lasting_rows(results)
    for process in [start("run", file, "--results", results, "--rerun") for _ in range(2)]:
        finish(process)
    assert lasting_rows(results) == rows
    assert all(row["environment"]["started"] > before[cell]["environment"]["started"] for cell, row in read_rows(results).items())
    assert_clean(results)


def test_a_cell_that_fails_is_not_run_again_by_those_that_wait_for_it(start, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    scale_final_norm(model, 3e4)  # infinite logits in float16
    file = experiment({"model.path": str(model), "model.dtype": "float16", "windows.length": 128, "sweep": None})
    results = tmp_path / "results"
    processes = [start("run", file, "--results", results)]
    wait_for(lambda: held(results), processes[0])
    processes[0].send_signal(signal.SIGSTOP)
    assert not read_rows(results)
    processes += [start("run", file, "--results", results) for _ in range(2)]
    waiting = [process.stderr.readline() for process in processes[1:]]
    assert all("is run by process" in line for line in waiting)
    processes[0].send_signal(signal.SIGCONT)
    logs = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1, 1]
    assert sum(len(begun_cells(log)) for log in logs) == 1
    (row,) = read_rows(results).values()
    assert row["status"] == "failed" and claims(results) == []


def test_a_stopped_process_keeps_its_cell_and_a_killed_one_loses_it_to_one_that_waits(start, experiment, tmp_path):
    file, results = experiment(LONG_CELL | {"sweep": [{"rope": SMALL_CELLS["sweep"][0]["rope"][:3]}]}), tmp_path / "results"
    first = start("run", file, "--results", results)
    wait_for(lambda: windows_done(results) >= 5, first)
    first.send_signal(signal.SIGSTOP)
    (held,) = claims(results)
    cell = held.removesuffix(".1")
    second = start("run", file, "--results", results)
    wait_for(lambda: len(read_rows(results)) == 2 and claims(results) == [held], second)  # it ran all but this one
    assert cell not in read_rows(results)
    first.kill()
    first.communicate()
    _, log = finish(second)
    assert f"cell {cell} is run by process {first.pid} on " in log
    assert begun_cells(log)[-1] == cell and len(begun_cells(log)) == 3
    assert "parts (windows, questions) were finished already" in log
    assert_clean(results)


def test_a_process_whose_cell_was_taken_over_leaves_it_without_a_row(run, start, experiment, tmp_path):
    file, results = experiment(LONG_CELL), tmp_path / "results"
    assert run("run", file, "--results", tmp_path / "undisturbed").returncode == 0
    process = start("run", file, "--results", results)
    wait_for(lambda: windows_done(results) >= 5, process)
    (held,) = (results / "claims").iterdir()
    newer = held.with_suffix(".2")
    owner = json.loads((held / "owner.json").read_text(encoding="utf-8")) | {"token": "another's"}
    (results / "newer").mkdir()
    (results / "newer/owner.json").write_text(json.dumps(owner), encoding="utf-8")
    (results / "newer").rename(newer)
    lines = iter(process.stderr.readline, "")
    assert any("another process took it over while this one did not answer; it is left to that one" in line for line in lines)
    assert not read_rows(results) and newer.exists()
    shutil.rmtree(newer)
    finish(process)
    assert lasting_rows(results) == lasting_rows(tmp_path / "undisturbed")
    assert_clean(results)


def test_a_claim_that_says_nothing_is_waited_for_without_asking_all_the_time(run, start, experiment, tmp_path):
    file, results = experiment(), tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    cell = sorted(read_rows(results))[0]
    shutil.rmtree(results / "cells" / cell)
    (results / "claims" / f"{cell}.1").mkdir(parents=True)
    (results / "claims" / f"{cell}.1/owner.json").touch()  # as a machine that lost its power may leave it
    process = start("run", file, "--results", results)
    assert any(f"cell {cell} is run by process 0 on ?" in line for line in iter(process.stderr.readline, ""))

    def processor_seconds():
        fields = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = processor_seconds()
    time.sleep(2)
    assert processor_seconds() - before < 0.5
    shutil.rmtree(results / "claims" / f"{cell}.1")
    finish(process)
    assert_clean(results)


# ---- parts of a sweep

def test_shards_at_once_run_every_cell_once(start, experiment, serial, tmp_path):
    file, results = experiment(SMALL_CELLS), tmp_path / "results"
    logs = [finish(process)[1] for process in [start("run", file, "--results", results, "--shard", f"{k}/4") for k in (1, 2, 3, 4)]]
    parts = [begun_cells(log) for log in logs]
    assert all(len(part) >= 4 for part in parts)
    assert sorted(sum(parts, [])) == sorted(serial)
    assert lasting_rows(results) == serial
    assert_clean(results)


def test_more_shards_than_cells_leave_some_empty(start, experiment, tmp_path):
    file, results = experiment(), tmp_path / "results"
    logs = [finish(process)[1] for process in [start("run", file, "--results", results, "--shard", f"{k}/6") for k in range(1, 7)]]
    parts = [begun_cells(log) for log in logs]
    assert sorted(sum(parts, [])) == sorted(read_rows(results)) and len(read_rows(results)) == 4
    assert [f"shard {k}/6 of 4 cells is empty" in log for k, log in enumerate(logs, 1)] == [part == [] for part in parts]
    assert parts[-1] == []


def test_only_runs_the_cells_of_a_list(finished, run, tmp_path):
    _, file, results = finished
    chosen = sorted(read_rows(results))[1:3]
    process = run("run", file, "--results", tmp_path, "--only", f"{chosen[0]},{chosen[1][:8]}")
    assert process.returncode == 0, process.stderr
    assert sorted(read_rows(tmp_path)) == chosen
    process = run("run", file, "--results", tmp_path, "--only", f"{chosen[0]},fedcba98")
    assert process.returncode == 1
    assert "--only fedcba98: no cell of" in process.stderr
