"""Several lengths of one text: short windows are scored with the long ones that begin with them, and no row differs from a run of its own."""
import json
import resource
import time

import pytest

from support.program import lasting, read_rows
from support.tasks import write_lines

METRICS = ["perplexity", "kl_divergence", {"type": "nll_by_position", "bins": 4, "last": 64}]
W4 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 32}}
LENGTHS = [512, 700, 1024, 1500]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Two documents of more than 1,536 tokens."""
    words = [" ".join(f"{word}{number % 7}" for number in range(900)) for word in ("river", "stone")]
    return write_lines(tmp_path_factory.mktemp("data") / "long.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(words)])


@pytest.fixture
def changes(text):
    """changes(key=value...) -> those of a sweep over LENGTHS."""
    return lambda **more: {"data": {"path": str(text), "min_tokens": 1536, "max_tokens": 1536},
                           "windows": {"truncate": True, "lengths": LENGTHS}, "rope": {"type": "yarn", "factor": 4}, "metrics": METRICS,
                           "quant": [W4], "sweep": None} | more


@pytest.fixture
def apart(run, experiment, changes, tmp_path):
    """apart(lengths, windows) -> ({length: row}, {file: bytes}) of a run for each length."""

    def run_apart(lengths, windows):
        rows, tables = {}, {}
        for length in lengths:
            results = tmp_path / f"alone{length}"
            process = run("run", experiment(changes(windows=windows, sweep=[{"windows.length": [length]}]), "alone.yaml"), "--results", results)
            assert process.returncode == 0 and not joined(process), process.stderr
            rows |= by_length(results)
            tables |= files(results)
        return rows, tables

    return run_apart


def files(results):
    """{cell/name: bytes} of the tables."""
    return {str(path.relative_to(results)): path.read_bytes() for path in results.rglob("*.csv")}


def joined(process):
    """The ids of the cells whose log says that they were scored with another."""
    return {line.split("cell ")[1].split(":")[0] for line in process.stderr.splitlines() if "scored with those of cell" in line}


def by_length(results):
    return {row["axes"]["windows.length"]: row for row in read_rows(results).values()}


def assert_same(results, rows, tables):
    def lasting_rows(of):
        return {length: lasting(row) | {"experiment": ""} for length, row in of.items()}

    assert lasting_rows(by_length(results)) == lasting_rows(rows)
    assert files(results) == tables


def test_lengths_are_scored_in_one_pass_with_the_bits_of_separate_runs(run, experiment, changes, apart, tmp_path):
    rows, tables = apart(LENGTHS, {"truncate": True})
    process = run("run", experiment(changes()), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert_same(tmp_path / "results", rows, tables)
    assert joined(process) == {rows[512]["id"], rows[1024]["id"]}  # 700 is no multiple of 512
    assert all(row["tokens_per_second"] > 0 for row in by_length(tmp_path / "results").values())
    assert not list((tmp_path / "results").rglob("partial.jsonl"))


def test_only_windows_that_begin_a_longer_one_are_scored_with_it(run, experiment, changes, apart, tmp_path):
    windows = {"bos": False, "stride": 500}
    rows, tables = apart([512, 1024], windows)
    process = run("run", experiment(changes(windows=windows, sweep=[{"windows.length": [512, 1024]}])), "--results", tmp_path / "results")
    assert process.returncode == 0 and joined(process) == {rows[512]["id"]}, process.stderr
    assert_same(tmp_path / "results", rows, tables)


@pytest.mark.parametrize("rope", [{"type": "yarn", "factor": "auto"}, {"type": "dynamic_ntk", "factor": 2}], ids=lambda rope: rope["type"])
def test_a_table_that_depends_on_the_length_is_not_shared(run, experiment, changes, tmp_path, rope):
    file = experiment(changes(rope=rope, windows={"truncate": True, "lengths": [1024, 1536]}))
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0 and joined(process) == set(), process.stderr


def test_other_documents_of_one_file_share_nothing(run, experiment, changes):
    data = changes()["data"] | {"documents": 1}
    for axis, values, saves in (("data.skip", [0, 1], False), ("data.documents", [1, 2], True)):
        file = experiment(changes(data=data, windows={"truncate": True, "length": 512}, sweep=[{axis: values}]))
        assert ("TFLOP fewer" in run("check", file).stdout) == saves


def test_check_counts_what_is_saved(run, experiment, changes):
    assert "TFLOP fewer" in run("check", experiment(changes())).stdout
    assert "TFLOP fewer" not in run("check", experiment(changes()), "--set", "windows.lengths=[700,1500]").stdout


def test_many_cells_are_checked_in_time_that_grows_with_their_windows(run, experiment, changes):
    """Each cell was compared with every one before it: four times as many lengths or seeds took twelve times as long."""

    def seconds_of(**more):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        process = run("check", experiment(changes(**more)))
        assert process.returncode == 0, process.stderr
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    for many in (lambda count: {"windows": {"lengths": list(range(1024, 1024 + count)), "stride": 64}, "metrics": ["perplexity"]},
                 lambda count: {"windows": {"length": 512}, "sweep": [{"seed": list(range(4 * count))}]}):
        assert seconds_of(**many(800)) < 8 * seconds_of(**many(200)) + 1


def test_a_killed_run_goes_on_with_the_parts_of_all_lengths(run, start, experiment, changes, apart, tmp_path):
    rows, tables = apart(LENGTHS, {"truncate": True})
    file, results = experiment(changes()), tmp_path / "results"
    process = start("run", file, "--results", results)
    kept = results / "cells" / rows[1024]["id"] / "partial.jsonl"
    while process.poll() is None and not (kept.exists() and kept.read_bytes().count(b"\n") >= 2):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert json.loads(kept.read_text(encoding="utf-8").splitlines()[1])["part"] == "window/0"
    process = run("run", file, "--results", results)
    assert process.returncode == 0, process.stderr
    assert_same(results, rows, tables)


def test_lengths_in_two_places_or_of_another_shape_are_refused(refused, experiment, changes):
    refused(experiment(changes(sweep=[{"windows.length": [512]}])), "windows.lengths", "windows.length already")
    refused(experiment(changes()), "--set", "windows.length: is not read beside windows.lengths", arguments=("--set", "windows.length=700"))
    refused(experiment(changes(windows={"lengths": []})), "windows.lengths", "write [2048, 4096]")
    refused(experiment(changes(windows={"lengths": [512, 512]})), "windows.lengths[1]", "the same value")
