"""scripts/slurm/submit on a real Slurm: a sweep as an array, through requeues, cancellations and changes of the checkout."""
import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from support.program import REPO, experiment_of, litter, read_rows
from support.sweep import assert_clean, lasting_rows, windows_done

SUBMIT = REPO / "scripts/slurm/submit"
ROPES = [{"type": "none"}] + [{"type": kind, "factor": 2} for kind in ("linear", "ntk", "yarn")]
RTN = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 32}}]
MANY = {"sweep": [{"rope": ROPES, "quant": [[], RTN], "windows.length": [32, 48, 64]}]}  # 24 cells
LONG = {"windows": {"length": 64, "stride": 8}, "sweep": [{"rope": ROPES}]}  # 4 cells of seconds


@pytest.fixture
def submit(cluster, binary, token_cache, tmp_path):
    """submit(argument...) -> (process, job of the array, job that collects), run in the test's folder."""
    cluster.environment |= {"QROAR_BINARY": str(binary), "QROAR_CACHE": str(token_cache)}

    def run(*arguments):
        process = cluster.run(SUBMIT, *arguments, cwd=tmp_path)
        jobs = [word.rstrip(":;") for word in process.stdout.split() if word.rstrip(":;").isdigit()]
        return process, *([jobs[0], jobs[2]] if len(jobs) == 3 else [None, None])

    return run


@pytest.fixture(scope="module")
def serial(run, tmp_path_factory):
    """serial(changes) -> the lasting part of the rows of an undisturbed run in one process, which is run once."""
    known = {}

    def rows(changes):
        if str(changes) not in known:
            folder = tmp_path_factory.mktemp("serial")
            (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment_of(changes), sort_keys=False), encoding="utf-8")
            process = run("run", folder / "experiment.yaml", "--results", folder / "results")
            assert process.returncode == 0, process.stderr
            known[str(changes)] = lasting_rows(folder / "results")
        return known[str(changes)]

    return rows


def logs(results):
    return "\n".join(file.read_text(encoding="utf-8") for file in sorted(results.glob("submissions/*/*.log")))


def test_an_array_of_four_tasks_runs_a_sweep_as_one_process_does(cluster, submit, serial, experiment, tmp_path):
    process, array, collect = submit(experiment(MANY), "--array", 4, "--results", "out")
    assert process.returncode == 0, process.stderr
    results = tmp_path / "out"
    assert cluster.wait(array, 120) == {f"{array}_{task}": "COMPLETED" for task in range(1, 5)}, logs(results)
    assert cluster.wait(collect) == {collect: "COMPLETED"}, logs(results)
    assert lasting_rows(results) == serial(MANY) and len(serial(MANY)) == 24
    assert not litter(results) and not list(results.glob("claims/*"))
    assert (results / "report.md").exists() and "24 cells" not in logs(results)
    tasks = next(results.glob("submissions/*/tasks")).read_text(encoding="utf-8").splitlines()
    assert len(tasks) == 4 and all(4 <= len(line.split(",")) <= 8 for line in tasks)
    assert all(logs(results).count(f"info cell {cell} ") == 1 for cell in serial(MANY))


def test_requeued_cancelled_and_resubmitted_tasks_lose_and_double_nothing(cluster, submit, serial, experiment, tmp_path):
    results, file = tmp_path / "out", experiment(LONG)
    _, array, collect = submit(file, "--array", 2, "--results", results)
    cluster.until(lambda: windows_done(results) > 5 and len(programs(cluster)) == 2, 60, "windows of two programs")
    for task in (1, 2):  # as when a task's time is nearly over
        cluster.run("scancel", "--batch", "--signal=USR1", f"{array}_{task}")
    cluster.until(lambda: all(cluster.show(f"{array}_{task}")["Restarts"] == "1" for task in (1, 2)), 30, "requeues")
    assert "stopped by a signal" in logs(results)
    cluster.until(lambda: "parts (windows, questions) were finished already" in logs(results), 60, "the tasks to go on")
    cluster.until(lambda: cluster.show(f"{array}_1")["JobState"] == "RUNNING", 60, "the first task")
    cluster.run("scontrol", "requeue", f"{array}_1")
    cluster.until(lambda: cluster.show(f"{array}_1")["Restarts"] == "2", 30, "the second requeue")
    cluster.run("scancel", array)
    assert set(cluster.wait(array).values()) == {"CANCELLED"}, logs(results)
    assert cluster.wait(collect) == {collect: "FAILED"}  # cells are missing
    _, array, collect = submit(file, "--array", 3, "--results", results)
    assert set(cluster.wait(array, 120).values()) == {"COMPLETED"}, logs(results)
    assert cluster.wait(collect) == {collect: "COMPLETED"}, logs(results)
    assert lasting_rows(results) == serial(LONG)
    assert_clean(results)
    assert "every cell" in submit(file, "--results", results)[0].stdout


def programs(cluster):
    """The processes of ours that tasks run."""
    ours = []
    for pid in cluster.processes():
        with contextlib.suppress(OSError):  # ended
            if b"/submissions/" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]:
                ours.append(pid)
    return ours


def test_a_program_that_is_told_to_stop_and_a_preempted_task_come_back(cluster, submit, serial, experiment, tmp_path):
    results = tmp_path / "out"
    _, array, collect = submit(experiment(LONG), "--results", results)
    cluster.until(lambda: windows_done(results) > 5, 60, "windows")
    for pid in programs(cluster):
        os.kill(pid, signal.SIGTERM)
    cluster.until(lambda: cluster.show(f"{array}_1")["Restarts"] == "1" and programs(cluster), 60, "the task to come back")
    cluster.until(lambda: windows_done(results) > 5, 60, "windows")
    urgent = cluster.submit("--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
    assert cluster.wait(urgent) == {urgent: "COMPLETED"}
    assert cluster.wait(collect, 120) == {collect: "COMPLETED"}, logs(results)
    assert cluster.show(f"{array}_1")["Restarts"] == "2"
    assert lasting_rows(results) == serial(LONG)
    assert_clean(results)


def test_a_program_that_is_killed_leaves_its_cells_to_the_next_submission(cluster, submit, serial, experiment, tmp_path):
    results, file = tmp_path / "out", experiment(LONG)
    _, array, _ = submit(file, "--array", 2, "--results", results)
    cluster.until(lambda: windows_done(results) > 5, 60, "windows")
    assert programs(cluster)
    for pid in programs(cluster):
        os.kill(pid, signal.SIGKILL)
    assert set(cluster.wait(array).values()) == {"FAILED"}
    _, array, collect = submit(file, "--results", results)
    assert cluster.wait(collect, 120) == {collect: "COMPLETED"}, logs(results)
    assert lasting_rows(results) == serial(LONG)


def test_a_task_without_progress_comes_back_three_times(cluster, submit, experiment, tmp_path, binary):
    results = tmp_path / "out"
    _, array, _ = submit(experiment(LONG), "--results", results)
    cluster.until(lambda: "info cell" in logs(results), 60, "the first run")
    cluster.run("scancel", array)
    cluster.wait(array)
    folder = next(results.glob("submissions/*"))
    (folder / "other").write_text("#!/bin/sh\necho stopped at once\nexit 75\n", encoding="utf-8")
    (folder / "other").chmod(0o755)
    (folder / "other").replace(folder / "qroar")  # which may be about to end
    job = cluster.submit("--array=1-1", folder / "array.sbatch")
    for restart in (1, 2, 3):
        cluster.until(lambda: cluster.show(f"{job}_1")["Restarts"] == str(restart), 30, f"requeue {restart}")
    assert set(cluster.wait(job).values()) == {"FAILED"}
    assert "three times without progress" in logs(results)


def test_a_submission_runs_what_it_was_when_it_was_submitted(cluster, submit, serial, experiment, tmp_path):
    (tmp_path / "texts").mkdir()
    shutil.copy(REPO / "tests/support/text.jsonl", tmp_path / "texts/text.jsonl")
    base = experiment({"sweep": None, "data.path": "texts/text.jsonl"}, "base.yaml")
    file = tmp_path / "sweep.yaml"
    file.write_text("include: base.yaml\nsweep: [{windows.length: [32, 64]}]\n", encoding="utf-8")
    cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        process, array, collect = submit(file, "--array", 2, "--set", "windows.truncate=true", "--results", "out")
        assert process.returncode == 0, process.stderr
        file.write_text("not: an experiment\n", encoding="utf-8")
        base.unlink()
    finally:
        cluster.run("scontrol", "update", "PartitionName=main", "State=UP")
    assert cluster.wait(collect) == {collect: "COMPLETED"}, logs(tmp_path / "out")
    metrics = {row["axes"]["windows.length"]: row["metrics"] for row in read_rows(tmp_path / "out").values()}
    assert metrics == {row["axes"]["windows.length"]: row["metrics"]
                       for row in serial({"sweep": [{"windows.length": [32, 64]}]}).values()}


def test_a_failed_cell_fails_the_task_and_the_job_that_collects(cluster, submit, experiment, tmp_path):
    weights = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 32}}
    changes = {"model.dtype": "float16", "sweep": [{"quant": [[], [weights | {"input": {"type": "rtn", "bits": 8, "group": 0}}]]}],
               "rescale": {"type": "bands", "bands": 1, "scales": [1e30]}}
    _, array, collect = submit(experiment(changes), "--results", "out")
    assert set(cluster.wait(array).values()) == {"FAILED"}, logs(tmp_path / "out")
    assert cluster.wait(collect) == {collect: "FAILED"}
    assert "failed" in logs(tmp_path / "out")


def test_nothing_is_queued_for_what_would_fail_or_for_show(cluster, submit, experiment, tmp_path):
    before = cluster.queue()
    process, *_ = submit(experiment({"rope": {"type": "yarm"}, "sweep": None}), "--array", 4)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and "yarm" in process.stderr
    for arguments, told in ((["--array", "0"], "--array 0"), (["--array"], "--array wants a value"), (["--partition", ""], "--partition is empty"),
                            (["--aray", "2"], "--aray")):
        process, *_ = submit(experiment(), *arguments)
        assert process.returncode == 1 and process.stderr.count("\n") == 1 and told in process.stderr
    process, *_ = submit(experiment(), "--array", 2, "--time", "2:00:00", "--gpus", 1, "--dry-run", "--", "--account=lab")
    assert process.returncode == 0, process.stderr
    for line in ("--array=1-2", "--time=2:00:00", "--gres=gpu:1", "--account=lab", "--signal=B:USR1@120"):
        assert f"#SBATCH {line}\n" in process.stdout
    assert "collect" in process.stdout and not (tmp_path / "results").exists()
    assert cluster.queue() == before
    process, *_ = submit(experiment(), "--time", "soon", "--results", tmp_path / "out")  # what Slurm alone can refuse
    assert process.returncode == 1 and "nothing is queued" in process.stderr
    assert not (tmp_path / "out").exists() and cluster.queue() == before


def test_hours_say_how_many_tasks_by_the_speed_of_rows(submit, run, experiment, tmp_path):
    def tasks(hours, *more):
        process, *_ = submit(experiment(MANY), "--hours", hours, "--results", tmp_path / "results/out", "--dry-run", *more)
        lines = [line for line in process.stdout.splitlines() if line.startswith("#SBATCH --array=1-")]
        return process, int(lines[0].rpartition("-")[2]) if lines else None

    process, _ = tasks(1)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and "no row" in process.stderr and "a CPU" in process.stderr
    one = {"sweep": None, "rope": {"type": "ntk", "factor": 4}}
    assert run("run", experiment(one, "one.yaml"), "--results", tmp_path / "results/one").returncode == 0
    assert tasks(1)[1] == 1
    assert tasks(1e-7)[1] > 4  # 0.4 ms
    process, _ = tasks(1, "--gpus", 1)
    assert process.returncode == 1 and "a GPU" in process.stderr
    for hours, told in (("0", "--hours"), ("soon", "--hours"), ("nan", "--hours: give a number of hours above 0, not nan"), ("inf", "above 0, not inf")):
        process, _ = tasks(hours)
        assert process.returncode == 1 and told in process.stderr
    process, *_ = submit(experiment(MANY), "--hours", 1, "--array", 2)
    assert process.returncode == 1 and process.stderr.count("\n") == 1 and "one of them" in process.stderr
