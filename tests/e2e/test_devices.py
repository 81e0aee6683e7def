"""run --devices: a worker per device over the same claims.  (GPUs: tests/gpu; here the processor counts twice.)"""
import os
import signal
import time

import pytest

from support.program import assert_one_line, copy_of_tiny_books, scale_final_norm
from support.sweep import lasting_rows

CELLS = {"windows": {"length": 64, "stride": 8}}


def children(process):
    return [int(pid) for pid in open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="utf-8").read().split()]


def test_two_workers_share_the_cells_and_the_table_is_printed_once(run, experiment, finished, tmp_path):
    process = run("run", experiment({}, "small.yaml"), "--results", tmp_path / "results", "--devices", "cpu,cpu")
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("perplexity; ") == 1 and process.stdout.count("none") >= 1
    assert lasting_rows(tmp_path / "results") == lasting_rows(finished[2])
    assert process.stderr.count("info cpu cell") >= 4


def test_a_signal_reaches_the_workers_and_a_killed_worker_s_cell_goes_to_the_other(run, start, experiment, tmp_path):
    file, results = experiment(CELLS), tmp_path / "results"

    def claims():
        return list(results.glob("claims/*.1"))

    process = start("run", file, "--results", results, "--devices", "cpu,cpu")
    while len(claims()) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 75 and not claims()
    process = start("run", file, "--results", results, "--devices", "cpu,cpu")
    while len(claims()) < 2:
        assert process.poll() is None
    victim = children(process)[0]
    os.kill(victim, signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1 and f"(process {victim}) was ended by signal 9" in stderr
    undisturbed = run("run", file, "--results", tmp_path / "undisturbed")
    assert undisturbed.returncode == 0
    assert lasting_rows(results) == lasting_rows(tmp_path / "undisturbed") and not claims()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_workers_load_is_not_lost(run, start, experiment, tmp_path, number):
    """They had no handlers yet and were ended by it: exit code 1 in the place of 75, on which a scheduler queues the job again."""
    arguments = ["run", experiment(CELLS), "--results", tmp_path / "results", "--devices", "cpu,cpu"]
    with start(*arguments, start_new_session=True) as process:
        while not children(process):
            time.sleep(0.001)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 75 and "was ended by signal" not in stderr, stderr


def test_a_failed_cell_is_told_where_whoever_started_the_program_ignores_how_children_end(run, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    scale_final_norm(model, float("nan"))
    file = experiment({"model.path": str(model), "sweep": None})
    process = run("run", file, "--results", tmp_path / "results", "--devices", "cpu",
                  preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert process.returncode == 1, process.stderr


@pytest.mark.parametrize("devices, told", [("tpu", "'tpu' is neither cpu nor cuda:N"), ("cuda:x", "cuda:x"), (",", "'' is neither")])
def test_unknown_devices_are_named(run, experiment, devices, told):
    assert_one_line(run("run", experiment(), "--devices", devices), told)


def test_no_gpu_is_said_once(run, experiment):
    assert_one_line(run("run", experiment(), "--devices", "all", env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}), "no GPU is there")
    assert_one_line(run("run", experiment({"rope": {"type": "yarm"}, "sweep": None}), "--devices", "cpu,cpu"), "yarm")
