"""The Slurm of tests/support/slurm.py is a real one, and does what docs/slurm-notes.md says of arrays, dependencies, signals and requeues."""
import pytest

from support.slurm import Cluster


@pytest.fixture
def script(tmp_path):
    """script(name, line...) -> a batch script that runs and logs in the test's folder."""

    def write(name, *lines):
        path = tmp_path / f"{name}.sh"
        options = (f"--chdir={tmp_path}", f"--output={name}.%a.log", "--open-mode=append", "--requeue")
        directives = [f"#SBATCH {option}" for option in options]
        path.write_text("\n".join(["#!/bin/bash", *directives, *lines, ""]), encoding="utf-8")
        return path

    return write


@pytest.fixture
def log(cluster, tmp_path):
    """log(name, wanted, task) -> the job's own lines in order, once `wanted` is one of them."""

    def read(name, wanted, task=4294967294):  # what %a is outside of an array
        path = tmp_path / f"{name}.{task}.log"

        def lines():
            written = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            return [line for line in written if not line.startswith("slurmstepd")]

        cluster.until(lambda: wanted in lines(), 30, f"'{wanted}' in {path}")
        return lines()

    return read


# A child that takes a while to leave after TERM, and a shell that waits for it.  A trapped signal ends `wait`.
CHILD = """bash -c 'trap "echo child TERM; sleep 0.5; exit 75" TERM; trap "echo child USR2" USR2; echo ready; while :; do sleep 0.1; done' 2>/dev/null &
child=$!
while kill -0 $child 2>/dev/null; do wait $child; done
wait $child
echo "child left with $?"
"""
RUN = 'echo "run ${SLURM_RESTART_COUNT:-0}"'
ONCE = '[[ -z ${SLURM_RESTART_COUNT:-} ]] || exit 0'


def test_four_tasks_run_at_once_and_what_depends_on_them_comes_last(cluster, script, tmp_path):
    tasks = script("task", "touch here.$SLURM_ARRAY_TASK_ID", "until (($(ls here.* | wc -l) == 4)); do sleep 0.1; done", "sleep 0.5",
                   "echo $CUDA_VISIBLE_DEVICES >> gpus")
    array = cluster.submit("--array=0-3", "--gres=gpu:1", "--mem=1G", tasks)
    last = cluster.submit(f"--dependency=afterany:{array}", "--chdir", tmp_path, "--output", tmp_path / "seen", "--wrap", "cat gpus")
    assert cluster.queue(last) == {last: "PENDING"}
    assert cluster.wait(array) == {f"{array}_{task}": "COMPLETED" for task in range(4)}
    assert cluster.wait(last) == {last: "COMPLETED"}
    assert sorted((tmp_path / "seen").read_text(encoding="utf-8").split()) == ["0", "1", "2", "3"]


def test_an_array_runs_no_more_tasks_at_once_than_it_says(cluster, script, tmp_path):
    tasks = script("task", "touch here.$SLURM_ARRAY_TASK_ID", "ls here.* | wc -l >> counts", "sleep 1", "rm here.$SLURM_ARRAY_TASK_ID")
    array = cluster.submit("--array=1-4%2", tasks)
    assert set(cluster.wait(array).values()) == {"COMPLETED"}
    assert max((tmp_path / "counts").read_text(encoding="utf-8").split()) == "2"


def test_which_signals_reach_the_batch_script_and_which_its_children(cluster, script, log):
    job = cluster.submit(script("job", *(f"trap 'echo shell {name}' {name}" for name in ("USR1", "USR2", "TERM")), CHILD))
    log("job", "ready")
    cluster.run("scancel", "--signal=USR1", job)  # to steps of srun, of which there are none
    cluster.run("scancel", "--batch", "--signal=USR1", job)
    log("job", "shell USR1")
    cluster.run("scancel", "--full", "--signal=USR2", job)
    log("job", "shell USR2")
    log("job", "child USR2")
    cluster.run("scancel", "--batch", "--signal=TERM", job)
    lines = log("job", "shell TERM")
    assert lines.count("shell USR1") == 1 and "child TERM" not in lines
    assert cluster.queue(job) == {job: "RUNNING"}
    cluster.run("scancel", job)
    lines = log("job", "child left with 75")
    assert lines.count("shell TERM") == 2 and "child TERM" in lines
    assert cluster.wait(job) == {job: "CANCELLED"}
    assert cluster.show(job)["Restarts"] == "0"


def test_a_requeued_job_gets_TERM_and_time_to_leave_and_goes_on_in_the_same_log(cluster, script, log):
    job = cluster.submit(script("job", RUN, ONCE, "trap 'echo shell TERM' TERM", CHILD))
    last = cluster.submit(f"--dependency=afterok:{job}", "--output=/dev/null", "--wrap", "true")
    log("job", "ready")
    assert cluster.run("scontrol", "requeue", job).returncode == 0
    lines = log("job", "child left with 75")
    assert sorted(lines[2:4]) == ["child TERM", "shell TERM"]
    assert cluster.queue(last) == {last: "PENDING"}
    assert cluster.wait(job) == {job: "COMPLETED"}
    assert log("job", "run 1") == ["run 0", "ready", *lines[2:4], "child left with 75", "run 1"]
    assert cluster.show(job)["Restarts"] == "1"
    assert cluster.wait(last) == {last: "COMPLETED"}


def test_a_task_that_asks_to_be_requeued_keeps_what_depends_on_its_array_waiting(cluster, script, log, tmp_path):
    tasks = script("task", RUN, "(($SLURM_JOB_ID == $SLURM_ARRAY_JOB_ID)) && echo has the number of the array", ONCE,
                   "trap \"trap '' TERM; scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID && echo asked; exit 75\" USR1",
                   "((SLURM_ARRAY_TASK_ID == 0)) && exit 3", "echo ready", "sleep 60 & wait")
    array = cluster.submit("--array=0-1", tasks)
    last = cluster.submit(f"--dependency=afterany:{array}", "--output=/dev/null", "--wrap", "true")
    log("task", "ready", 1)
    assert cluster.run("scancel", "--batch", "--signal=USR1", f"{array}_1").returncode == 0  # as --signal=B:USR1@60 does before the time limit
    log("task", "asked", 1)
    assert cluster.queue(last) == {last: "PENDING"}
    assert cluster.wait(array) == {f"{array}_0": "FAILED", f"{array}_1": "COMPLETED"}
    assert [cluster.show(f"{array}_{task}")["Restarts"] for task in (0, 1)] == ["0", "1"]
    number = "has the number of the array"  # so that SLURM_JOB_ID would have requeued all of it
    assert log("task", "run 1", 1) == ["run 0", number, "ready", "asked", "run 1", number]
    assert cluster.wait(last) == {last: "COMPLETED"}


def test_a_job_makes_way_for_an_urgent_one_and_comes_back(cluster, script, log):
    job = cluster.submit(script("job", RUN, ONCE, "trap 'echo shell TERM' TERM", CHILD))
    log("job", "ready")
    urgent = cluster.submit("--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap", "true")
    assert cluster.wait(urgent) == {urgent: "COMPLETED"}
    assert cluster.wait(job) == {job: "COMPLETED"}
    assert log("job", "run 1")[-2:] == ["child left with 75", "run 1"]


def test_cancelled_tasks_can_be_submitted_anew(cluster, script, log):
    tasks = script("task", "echo ready", "((SLURM_ARRAY_TASK_ID == 0)) || sleep 60")
    array = cluster.submit("--array=0-2", tasks)
    last = cluster.submit(f"--dependency=afterany:{array}", "--output=/dev/null", "--wrap", "true")
    for task in range(3):
        log("task", "ready", task)
    cluster.run("scancel", array)
    assert cluster.wait(array) == {f"{array}_0": "COMPLETED", f"{array}_1": "CANCELLED", f"{array}_2": "CANCELLED"}
    assert cluster.wait(last) == {last: "COMPLETED"}
    again = cluster.submit("--array=0", tasks)
    assert cluster.wait(again) == {f"{again}_0": "COMPLETED"}


def test_two_clusters_do_not_meet_and_one_that_has_stopped_leaves_nothing_running(cluster, tmp_path):
    with pytest.raises(ZeroDivisionError), Cluster(tmp_path) as other:
        job = other.submit("--output=/dev/null", "--wrap", "setsid sleep 60 & srun sleep 60")
        other.until(lambda: other.queue() == {job: "RUNNING"}, 30, "the job")
        assert cluster.processes() and other.processes()
        raise ZeroDivisionError
    assert not other.processes()
    assert cluster.run("sinfo").returncode == 0
