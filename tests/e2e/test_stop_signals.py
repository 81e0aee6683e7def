"""SIGTERM and SIGUSR1 end a run with 75 once what is going through the model is on disk, and the next run goes on from there."""
import json
import os
import re
import signal

import pytest

from support.program import TEXT, experiment_of, litter, read_rows
from support.sweep import LONG_CELL, W3, assert_clean, claims, finish, held, lasting_rows, wait_for, windows_done
from support.tasks import PASSKEY, QUESTIONS, WINDOW, write_lines

SEARCH = {"data": {"path": str(TEXT), "documents": 1}, "lengths": [128], "short_length": 64, "guard": 1, "grid": {"points": 7}}
SEARCHED = {"data": {"path": str(TEXT), "skip": 1}, "windows": {"length": 128, "truncate": True, "bos": False}, "rope": {"type": "yarn", "factor": 2},
            "quant": W3, "rescale": {"type": "bands", "bands": 4, "search": SEARCH}, "sweep": None}


def assert_stopped(process, results):
    """It ended with 75 and said so in one line, gave its cell back and left nothing half-written."""
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 75, stderr
    assert stdout == ""
    lines = [line for line in stderr.splitlines() if not line[:2].isdigit()]
    assert lines == ["stopped by a signal; run the same command again to go on"], stderr
    assert claims(results) == [] and not litter(results)
    return stderr


@pytest.fixture(scope="module")
def undisturbed(run, tmp_path_factory):
    """The lasting row of the long cell, run at one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "experiment.yaml").write_text(json.dumps(experiment_of(LONG_CELL)), encoding="utf-8")
    assert run("run", folder / "experiment.yaml", "--results", folder / "results").returncode == 0
    return lasting_rows(folder / "results")


@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGUSR1], [signal.SIGTERM, signal.SIGTERM], [signal.SIGUSR1, signal.SIGTERM]],
                         ids=["TERM", "USR1", "TERM TERM", "USR1 TERM"])
def test_a_signal_in_a_cell_stops_behind_a_window_and_the_next_run_ends_with_the_same_bits(start, experiment, undisturbed, tmp_path, signals):
    file, results = experiment(LONG_CELL), tmp_path / "results"
    process = start("run", file, "--results", results)
    wait_for(lambda: windows_done(results) >= 5, process)
    for sent in signals:
        process.send_signal(sent)
    assert_stopped(process, results)
    assert not read_rows(results)
    (partial,) = results.glob("cells/*/partial.jsonl")
    text = partial.read_text(encoding="utf-8")
    windows = [int(json.loads(line)["part"].removeprefix("window/")) for line in text.splitlines()[1:]]
    assert text.endswith("\n") and windows == list(range(len(windows))) and len(windows) >= 5
    _, log = finish(start("run", file, "--results", results))
    assert f"{len(windows)} parts (windows, questions) were finished already" in log
    assert lasting_rows(results) == undisturbed
    assert_clean(results)


def test_signals_at_every_start_end_in_the_bits_of_an_undisturbed_run(start, experiment, undisturbed, tmp_path):
    file, results = experiment(LONG_CELL), tmp_path / "results"
    done = stops = 0
    while not read_rows(results):
        process = start("run", file, "--results", results)
        wait_for(lambda: windows_done(results) > done or read_rows(results) or process.poll() == 0)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode in (0, 75) and windows_done(results) + 1000 * len(read_rows(results)) > done
        done, stops = windows_done(results), stops + (process.returncode == 75)
    assert stops >= 2
    assert lasting_rows(results) == undisturbed


def test_a_signal_in_a_search_keeps_what_was_scored(run, start, experiment, tmp_path):
    file, results, journals = experiment(SEARCHED), tmp_path / "results", "search/*/journal.jsonl"
    own, other = ({"env": os.environ | {"QROAR_CACHE": str(tmp_path / name)}} for name in ("cache", "other"))
    finish(start("run", file, "--results", tmp_path / "undisturbed", **other))
    process = start("run", file, "--results", results, **own)
    wait_for(lambda: sum(path.read_bytes().count(b"\n") for path in (tmp_path / "cache").glob(journals)) >= 3, process)
    process.send_signal(signal.SIGTERM)
    assert_stopped(process, results)
    (journal,) = (tmp_path / "cache").glob(journals)
    scored = journal.read_bytes()
    assert scored.endswith(b"\n") and all(json.loads(line) for line in scored.splitlines())
    finish(start("run", file, "--results", results, **own))
    assert journal.read_bytes().startswith(scored)
    assert lasting_rows(results) == lasting_rows(tmp_path / "undisturbed")
    assert_clean(results)


def test_a_signal_in_a_diagnostic_stops_before_its_end_and_the_windows_are_kept(run, start, experiment, tmp_path):
    file, results = experiment(LONG_CELL | {"diagnostics": [{"type": "anisotropy", "windows": 1000}]}), tmp_path / "results"
    windows = int(re.search(r"(\d+) windows", run("check", file).stdout)[1])
    process = start("run", file, "--results", results)
    wait_for(lambda: windows_done(results) == windows, process)
    process.send_signal(signal.SIGTERM)
    assert "anisotropy: " not in assert_stopped(process, results)
    assert not read_rows(results)
    _, log = finish(start("run", file, "--results", results))
    assert f"{windows} parts (windows, questions) were finished already" in log and "anisotropy: " in log


@pytest.mark.parametrize("kind", ["multiple_choice", "passkey"])
def test_a_signal_in_a_task_stops_behind_an_answer_and_the_next_run_ends_with_the_same_bits(run, start, experiment, tmp_path, kind):
    many = [question | {"id": str(i)} for i, question in enumerate(QUESTIONS * 200)]
    task = (PASSKEY | {"samples": 60} if kind == "passkey" else
            {"type": "multiple_choice", "path": str(write_lines(tmp_path / "questions.jsonl", many))})
    file, results = experiment({"data": None, "sweep": None, "windows": {"length": WINDOW}, "tasks": [task]}), tmp_path / "results"
    process = start("run", file, "--results", results)
    wait_for(lambda: windows_done(results) >= 3, process)
    process.send_signal(signal.SIGUSR1)
    assert_stopped(process, results)
    assert not read_rows(results)
    answers = windows_done(results)
    _, log = finish(start("run", file, "--results", results))
    assert f"{answers} parts (windows, questions) were finished already" in log
    assert run("run", file, "--results", tmp_path / "undisturbed").returncode == 0
    assert lasting_rows(results) == lasting_rows(tmp_path / "undisturbed")
    (table,), (undisturbed,) = (folder.glob("cells/*/tasks/*.csv") for folder in (results, tmp_path / "undisturbed"))
    assert table.read_bytes() == undisturbed.read_bytes()
    assert_clean(results)


def test_a_signal_to_one_that_waits_ends_it_alone(start, experiment, undisturbed, tmp_path):
    file, results = experiment(LONG_CELL), tmp_path / "results"
    first = start("run", file, "--results", results)
    wait_for(lambda: held(results), first)
    first.send_signal(signal.SIGSTOP)
    second = start("run", file, "--results", results)
    assert "is run by process" in second.stderr.readline()
    second.send_signal(signal.SIGTERM)
    assert second.communicate(timeout=60)[1].endswith("run the same command again to go on\n") and second.returncode == 75
    assert len(claims(results)) == 1
    first.send_signal(signal.SIGCONT)
    finish(first)
    assert lasting_rows(results) == undisturbed
    assert_clean(results)
