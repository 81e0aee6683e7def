"""What `check` counts, what a row says of its speed, and how many tasks are made of both."""
import json
import re

import pytest

from support.program import TEXT, read_rows

ALL = re.compile(r"(\d+) cells, (\d+) windows of ([\d,]+) tokens, ([\d.e+-]+) TFLOP")


def counted(run, file):
    """(tokens, TFLOP) of an experiment."""
    process = run("check", file)
    assert process.returncode == 0, process.stderr
    _, _, tokens, tflop = ALL.search(process.stdout).groups()
    return int(tokens.replace(",", "")), float(tflop)


def test_a_row_s_speed_is_what_check_counts_over_its_seconds(run, experiment, tmp_path):
    file = experiment({"sweep": None})
    tokens, tflop = counted(run, file)
    assert run("run", file, "--results", tmp_path / "out").returncode == 0
    (row,) = read_rows(tmp_path / "out").values()
    assert row["tokens_per_second"] * row["seconds"] == pytest.approx(tokens)
    assert row["model_tflops_per_second"] * row["seconds"] == pytest.approx(tflop, rel=0.005)  # of which three digits are said


def test_hours_share_out_all_work_at_the_middle_of_the_last_rows_rates(run, experiment, tmp_path):
    """Rates of rows are changed by hand, the middle one to that at which all takes an hour."""
    file, three = experiment({"sweep": [{"windows.length": [*range(32, 80, 4)]}]}), experiment({"sweep": [{"windows.length": [32, 40, 48]}]}, "three.yaml")
    assert run("run", three, "--results", tmp_path / "results/three").returncode == 0
    _, tflop = counted(run, file)
    for path, times in zip(sorted((tmp_path / "results/three/cells").glob("*/row.json")), (8, 0.5, 1), strict=True):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"model_tflops_per_second": times * tflop / 3600}), encoding="utf-8")
    for hours, tasks in ((2, 1), (0.4, 3), (0.24, 5)):
        into = tmp_path / f"packed {hours}"
        process = run("pack", file, "--into", into, "--hours", hours, "--device", "cpu", "--results", tmp_path / "results/out")
        assert process.returncode == 0, process.stderr
        assert len((into / "tasks").read_text().splitlines()) == tasks


def searched(run, experiment, documents=1, **more):
    """TFLOP of a search with a budget that outweighs all evaluation."""
    search = {"data": {"path": str(TEXT), "documents": documents}, "lengths": [64], "short_length": 32, "budget": 10_000}
    keys = {"control": more.pop("control")} if "control" in more else {}
    rescale = {"type": "bands", "search": search | more} | keys
    return counted(run, experiment({"data.skip": 1, "data.documents": 1, "sweep": None, "rescale": rescale}))[1]


def test_the_control_with_one_temperature_is_as_dear_again_as_the_search_before_it(run, experiment):
    """A search has that control beside it: once for the search, and twice for the control."""
    assert 3 * searched(run, experiment, control="temperature") == pytest.approx(2 * searched(run, experiment), rel=0.01)


def test_a_search_in_folds_is_made_in_each(run, experiment):
    assert searched(run, experiment, 2, folds=2) == pytest.approx(2 * searched(run, experiment, 2), rel=0.01)


def test_a_calibration_that_cells_share_is_counted_once(run, experiment):
    """One that outweighs all evaluation."""
    quant = [{"match": "layers.*", "weight": {"type": "gptq", "bits": 4, "group": 64}}]
    calibration = {"data": {"path": str(TEXT), "documents": 1}, "samples": 8, "length": 128}
    of = lambda lengths: counted(run, experiment({"data.skip": 1, "data.documents": 1, "windows.truncate": True, "quant": quant, "calibration": calibration,  # noqa: E731
                                                  "sweep": [{"windows.length": lengths}]}))[1]
    assert of([32, 33, 34]) == pytest.approx(of([34]), rel=0.1)
