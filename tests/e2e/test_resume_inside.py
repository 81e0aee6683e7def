"""A cell that is killed goes on at the window where it stopped (cells/<id>/partial.jsonl) and ends with the bits of an undisturbed run."""
import json
import random
import shutil
import time

import pytest

from support.program import TEXT, TINY_BOOKS, experiment_of, lasting, litter, read_csv, read_rows
from support.tasks import write_lines

METRICS = ["perplexity", "kl_divergence", "bits_per_byte", {"type": "nll_by_position", "bins": 8, "last": 16},
           {"type": "long_ppl", "short": 16, "step": 48, "alpha": -50, "beta": -50}]
W3 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}
VALUES = {"perplexity", "nll", "kl_divergence", "top1_agreement", "delta_p", "delta_p_rms", "delta_p_1", "delta_p_5", "delta_p_50", "delta_p_95",
          "delta_p_99", "word_perplexity", "byte_perplexity", "bits_per_byte", "nll_last_16", "long_ppl", "key_tokens"}
WINDOWS = 50  # at least


@pytest.fixture(scope="module")
def changes(tmp_path_factory):
    """A cell of many short windows, with every metric and another model beside it.  Neighbours of one length go through the model together: of
    a short document three or four and then the last one alone, each time for some hundredths of a second."""
    text = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"]
    pieces = [{"id": str(begin), "text": text[begin:begin + 400]} for begin in range(0, len(text), 400)]
    data = write_lines(tmp_path_factory.mktemp("data") / "pieces.jsonl", pieces)
    return {"model.dtype": "bfloat16", "data.path": str(data), "windows": {"length": 64, "stride": 16}, "sweep": None, "quant": [W3],
            "metrics": METRICS}


@pytest.fixture(scope="module")
def undisturbed(run, changes, tmp_path_factory):
    """The results of the cell, run at one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "experiment.yaml").write_text(json.dumps(experiment_of(changes)), encoding="utf-8")
    process = run("run", folder / "experiment.yaml", "--results", folder / "results")
    assert process.returncode == 0, process.stderr
    (row,) = read_rows(folder / "results").values()
    assert set(row["metrics"]) == VALUES
    assert all(metric["value"] is not None and metric["count"] > 0 for metric in row["metrics"].values())
    cell = folder / "results/cells" / row["id"]
    assert len(read_csv((cell / "windows.csv").read_text(encoding="utf-8"))) >= WINDOWS
    assert not (cell / "partial.jsonl").exists()
    return cell


def read_partial(results):
    """(path, lines) of the one partial.jsonl, (None, []) without one."""
    paths = list(results.glob("cells/*/partial.jsonl"))
    return (paths[0], paths[0].read_bytes().splitlines(keepends=True)) if paths else (None, [])


def kill_at(start, file, results, lines, later=0):
    """Starts the run and kills it so many seconds after partial.jsonl has so many lines; whether it was in the middle of the cell."""
    process = start("run", file, "--results", results)
    while process.poll() is None and len(read_partial(results)[1]) < lines:
        time.sleep(0.002)
    time.sleep(later)
    process.kill()
    process.communicate()
    return process.returncode == -9


def assert_same_cell(results, expected):
    (row,) = read_rows(results).values()
    cell = results / "cells" / row["id"]
    assert lasting(row) == lasting(json.loads((expected / "row.json").read_text(encoding="utf-8")))
    assert sorted(path.name for path in cell.iterdir()) == sorted(path.name for path in expected.iterdir())
    for name in ["windows.csv", *(f"metrics/{path.name}" for path in expected.glob("metrics/*.csv"))]:
        assert (cell / name).read_bytes() == (expected / name).read_bytes(), name
    assert not (cell / "partial.jsonl").exists() and not litter(results)
    return row


def test_a_cell_killed_at_many_moments_ends_with_the_bits_of_an_undisturbed_run(run, start, experiment, changes, undisturbed, tmp_path):
    file, results = experiment(changes), tmp_path / "results"
    moments = random.Random(20240229)
    done = 1
    for _ in range(5):
        assert kill_at(start, file, results, done + moments.randint(1, 4), later=moments.uniform(0, 0.04))
        assert not read_rows(results)
        _, lines = read_partial(results)
        assert len(lines) > done  # nothing that was finished is lost
        done = len(lines)
    path, lines = read_partial(results)
    windows = [int(json.loads(line)["part"].removeprefix("window/")) for line in lines[1:]]
    assert windows == sorted(set(windows))  # every one once, in order
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    assert f"{len(windows)} parts (windows, questions) were finished already" in process.stderr
    row = assert_same_cell(results, undisturbed)
    assert row["seconds"] > 0 and row["tokens_per_second"] > 0
    assert run("show", results).stdout == process.stdout


@pytest.mark.parametrize("bytes_lost", [1, 40])
def test_a_half_written_last_line_is_scored_again(run, start, experiment, changes, undisturbed, tmp_path, bytes_lost):
    file, results = experiment(changes), tmp_path / "results"
    windows = read_csv((undisturbed / "windows.csv").read_text(encoding="utf-8"))
    last = next(i for i, window in enumerate(windows) if i > 15 and window["start"] == "16")  # the second of those that go together
    assert kill_at(start, file, results, last + 3)
    path, lines = read_partial(results)
    whole = b"".join(lines[:last + 2])
    path.write_bytes(whole[:-bytes_lost])
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    assert f"{last} parts (windows, questions) were finished already" in process.stderr
    assert_same_cell(results, undisturbed)


def test_a_file_of_which_only_half_of_the_first_line_is_left_is_begun_anew(run, start, experiment, changes, undisturbed, tmp_path):
    file, results = experiment(changes), tmp_path / "results"
    assert kill_at(start, file, results, 5)
    path, _ = read_partial(results)
    path.write_bytes(path.read_bytes()[:25])
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    assert "were finished already" not in process.stderr
    assert_same_cell(results, undisturbed)


@pytest.mark.parametrize("line", ["half", "null", '{"window": "seven"}', '{"part": "window/3", "seconds": 1, "result": {}}',
                                  '{"part": 7, "seconds": "1", "result": {}, "hash": "0"}', "[" * 100_000])
def test_a_line_that_is_something_else_is_said_and_scored_again(run, start, experiment, changes, undisturbed, tmp_path, line):
    file, results = experiment(changes), tmp_path / "results"
    assert kill_at(start, file, results, 5)
    path, lines = read_partial(results)
    path.write_bytes(b"".join(lines[:3]) + line.encode() + b"\n" + b"".join(lines[4:]))
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    assert f"{path}:4: 1 of " in process.stderr and "what they held is computed again" in process.stderr
    assert_same_cell(results, undisturbed)


def assert_begun_anew(run, file, results):
    """The run of a cut-off cell whose inputs changed ends as one in a fresh folder, whose cell is returned."""
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    assert "were finished already" not in process.stderr
    fresh = results.parent / "fresh"
    assert run("run", file, "--results", fresh).returncode == 0
    (expected,) = fresh.glob("cells/*")
    assert_same_cell(results, expected)
    return expected


def test_the_windows_of_other_data_are_not_used(run, start, experiment, changes, undisturbed, tmp_path):
    data = shutil.copy(changes["data.path"], tmp_path / "text.jsonl")
    file, results = experiment(changes | {"data.path": str(data)}), tmp_path / "results"
    assert kill_at(start, file, results, 20)
    data.write_text(data.read_text(encoding="utf-8").replace("The kiln stood", "A kiln stood"), encoding="utf-8")
    expected = assert_begun_anew(run, file, results)
    assert (expected / "windows.csv").read_bytes() != (undisturbed / "windows.csv").read_bytes()


def test_the_windows_of_other_weights_are_not_used(run, start, experiment, changes, tmp_path):
    model = shutil.copytree(TINY_BOOKS, tmp_path / "model")
    file, results = experiment(changes | {"model.path": str(model)}), tmp_path / "results"
    assert kill_at(start, file, results, 20)
    weights = bytearray((model / "model.safetensors").read_bytes())
    weights[-1] ^= 0x80  # the sign of the last weight
    (model / "model.safetensors").write_bytes(weights)
    assert_begun_anew(run, file, results)


def test_a_rerun_scores_every_window_again(run, start, experiment, changes, undisturbed, tmp_path):
    file, results = experiment(changes), tmp_path / "results"
    assert kill_at(start, file, results, 20)
    process = run("run", file, "--results", results, "--rerun")
    assert process.returncode == 0, process.stderr
    assert "parts (windows, questions) were finished already" not in process.stderr
    assert_same_cell(results, undisturbed)
