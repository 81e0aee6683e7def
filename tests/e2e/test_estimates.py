"""What `check` counts, what a row says of its speed, and how many tasks are made of both."""
import json
import re

import pytest

from support.program import read_rows

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


def test_hours_share_out_all_work_at_the_last_rows_rate(run, experiment, tmp_path):
    """The rate of a row is changed by hand to one at which all takes an hour."""
    file, one = experiment({"sweep": [{"windows.length": [*range(32, 80, 4)]}]}), experiment({"sweep": None}, "one.yaml")
    assert run("run", one, "--results", tmp_path / "results/one").returncode == 0
    (path,) = (tmp_path / "results/one/cells").glob("*/row.json")
    _, tflop = counted(run, file)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_tflops_per_second": tflop / 3600}), encoding="utf-8")
    for hours, tasks in ((2, 1), (0.4, 3), (0.24, 5)):
        into = tmp_path / f"packed {hours}"
        process = run("pack", file, "--into", into, "--hours", hours, "--device", "cpu", "--results", tmp_path / "results/out")
        assert process.returncode == 0, process.stderr
        assert len((into / "tasks").read_text().splitlines()) == tasks
