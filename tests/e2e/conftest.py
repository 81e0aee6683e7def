"""What the tests of tasks share: files of questions, and runs that ask them."""
import pytest

from support.program import read_csv, read_rows
from support.tasks import WINDOW, write_lines


@pytest.fixture
def lines_file(tmp_path):
    """lines_file(name, [object]) -> the path of a .jsonl file."""
    return lambda name, lines: write_lines(tmp_path / f"{name}.jsonl", lines)


@pytest.fixture
def asked(run, experiment, tmp_path):
    """asked(task...) -> (row, {task: lines}, process) of a run of one cell without text."""

    def run_tasks(*tasks, **changes):
        file = experiment({"data": None, "sweep": None, "windows": {"length": WINDOW}, "tasks": list(tasks)} | changes)
        results = tmp_path / "asked"
        process = run("run", file, "--results", results, "--rerun")
        assert process.returncode == 0, process.stderr
        row = next(row for row in read_rows(results).values() if row["id"] in process.stderr)
        assert row["status"] == "ok"
        folder = results / "cells" / row["id"]
        assert not (folder / "windows.csv").exists()
        return row, {path.stem: read_csv(path.read_text(encoding="utf-8")) for path in folder.glob("tasks/*.csv")}, process

    return run_tasks
