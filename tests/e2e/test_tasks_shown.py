"""What rows, `show` and the report make of tasks: whole runs of tiny-books, with and without text beside them."""
import json
import re
import statistics
import subprocess
import sys

import pytest

from support.program import REPO, TEXT, TINY_BOOKS, assert_one_line, read_csv, read_rows
from support.tasks import ASKED, PASSKEY, QUESTIONS, write_lines


@pytest.fixture(scope="module")
def mixed(run, tmp_path_factory):
    """Tasks beside windows of text and a curve, over two schemes."""
    folder = tmp_path_factory.mktemp("mixed")
    write_lines(folder / "choice.jsonl", QUESTIONS)
    write_lines(folder / "free.jsonl", [question | {"answers": ["x"]} for question in ASKED])
    config = {"model": {"path": str(TINY_BOOKS), "dtype": "float32", "device": "cpu"}, "data": {"path": str(TEXT)},
              "windows": {"length": 128}, "metrics": ["perplexity", {"type": "nll_by_position", "bins": 8, "last": 32}],
              "tasks": [{"type": "multiple_choice", "path": "choice.jsonl"}, PASSKEY,
                        {"type": "qa", "path": "free.jsonl", "prompt": "{context}", "new_tokens": 8}],
              "sweep": [{"rope": [{"type": "none"}, {"type": "yarn", "factor": 4}]}]}
    (folder / "mixed.yaml").write_text(json.dumps(config), encoding="utf-8")
    process = run("run", folder / "mixed.yaml", "--results", folder / "results", cwd=folder)
    assert process.returncode == 0, process.stderr
    return process, folder / "results"


TASK_METRICS = {"choice/acc", "choice/acc_norm", "passkey/accuracy", "passkey/accuracy_96", "passkey/accuracy_128", "free/exact_match", "free/f1"}


def test_tasks_stand_beside_windows_of_text(mixed):
    _, results = mixed
    rows = read_rows(results)
    assert len(rows) == 2
    for cell, row in rows.items():
        assert set(row["metrics"]) == TASK_METRICS | {"perplexity", "nll", "nll_last_32"}
        folder = results / "cells" / cell
        assert sorted(path.name for path in folder.iterdir()) == ["clusters.csv", "log.txt", "metrics", "resolved.yaml", "row.json", "tasks", "windows.csv"]
        assert sorted(path.name for path in folder.glob("tasks/*")) == ["choice.csv", "free.csv", "passkey.csv"]
        assert [path.name for path in folder.glob("metrics/*")] == ["nll_by_position.csv"]
        assert row["tokens_per_second"] > 0
    assert len(rows) == 2 and len({row["metrics"]["perplexity"]["value"] for row in rows.values()}) == 2


def test_text_is_scored_the_same_with_and_without_tasks(mixed, run, experiment, tmp_path):
    _, results = mixed
    file = experiment({"windows": {"length": 128}, "metrics": ["perplexity", {"type": "nll_by_position", "bins": 8, "last": 32}],
                       "sweep": [{"rope": [{"type": "none"}, {"type": "yarn", "factor": 4}]}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    for row in read_rows(tmp_path / "results").values():
        other = next(found for found in read_rows(results).values() if found["axes"] == row["axes"])
        assert row["metrics"].items() <= other["metrics"].items()


def test_a_task_called_as_a_metric_takes_nothing_of_it(run, experiment, tmp_path):
    write_lines(tmp_path / "choice.jsonl", QUESTIONS)
    tasks = [{"type": "multiple_choice", "path": str(tmp_path / "choice.jsonl"), "name": name} for name in ("perplexity", "nll")]
    rows = []
    for name, changes in (("plain", {}), ("asked", {"tasks": tasks})):
        file = experiment({"sweep": None, **changes})
        assert run("run", file, "--results", tmp_path / name).returncode == 0
        rows += read_rows(tmp_path / name).values()
    plain, both = (row["metrics"] for row in rows)
    assert set(both) == set(plain) | {f"{name}/{value}" for name in ("perplexity", "nll") for value in ("acc", "acc_norm")}
    assert plain.items() <= both.items()


def test_a_baseline_pairs_questions(mixed, run):
    _, results = mixed
    rows = read_rows(results)
    baseline, other = sorted(rows, key=lambda cell: rows[cell]["axes"]["rope"]["type"])  # none, yarn
    lines = {line["id"]: line for line in read_csv(run("show", results, "--format", "csv", "--baseline", baseline).stdout)}
    paired = TASK_METRICS | {"nll_last_32"}
    fields = ("", "_low", "_high", "_stderr", "_detectable", "_p", "_survives", "_clusters", "_draws")
    assert {name for name in lines[other] if name.startswith("Δ")} == {f"Δ{name}{field}" for name in paired | {"nll"} for field in fields}
    assert lines[baseline]["Δchoice/acc"] == "" and lines[baseline]["reason"] == "baseline"
    found = {row["id"]: row["paired"] for row in json.loads(run("show", results, "--format", "json", "--baseline", baseline).stdout)}
    assert found[baseline] == {"baseline": baseline, "reason": "baseline"} and found[other]["tasks"].keys() == paired
    assert found[other].keys() == {"baseline", "nll", "perplexity_ratio", "tasks"}

    def right(cell, task):
        table = read_csv((results / f"cells/{cell}/tasks/{task}.csv").read_text(encoding="utf-8"))
        return [float(line["right"]) if task == "passkey" else float(line["label"] == line["choice"]) for line in table]

    for task, metric in (("choice", "acc"), ("passkey", "accuracy")):
        differences = [a - b for a, b in zip(right(other, task), right(baseline, task))]
        count, name = len(differences), f"{task}/{metric}"  # the jackknife of a mean: deviation / sqrt(count - 1), with two more answers
        expected = [statistics.mean(differences), statistics.stdev([*differences, -1, 1]) / (count + 1) ** 0.5, count]
        assert [float(lines[other][f"Δ{name}{field}"]) for field in ("", "_stderr", "_clusters")] == pytest.approx(expected, rel=1e-9)
        assert [found[other]["tasks"][name][field] for field in ("difference", "stderr", "clusters")] == pytest.approx(expected, rel=1e-9)
    assert f"Δ: against {baseline} over the same windows or questions" in run("show", results, "--baseline", baseline).stdout


def test_rows_of_tasks_alone_are_compared_in_pairs(run, experiment, tmp_path):
    questions = write_lines(tmp_path / "q.jsonl", QUESTIONS)
    task = {"type": "multiple_choice", "path": str(questions)}
    file = experiment({"data": None, "windows": {"length": 128}, "sweep": [{"tasks": [[task], [task | {"limit": 2}], [task | {"delimiter": "  "}]]}]})
    results = tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    baseline = next(cell for cell, row in read_rows(results).items() if row["axes"]["tasks"] == [task])
    shown = run("show", results, "--baseline", baseline[:8])
    assert shown.returncode == 0 and "over the same windows or questions" in shown.stdout
    lines = {line["id"]: line for line in read_csv(run("show", results, "--format", "csv", "--baseline", baseline).stdout)}
    assert [line["Δq/acc"] for line in lines.values()].count("") == 2 and "Δnll" not in lines[baseline]
    assert shown.stdout.count(" other questions") == 2 and shown.stdout.count(" baseline") == 2  # acc and acc_norm
    found = [row["paired"] for row in json.loads(run("show", results, "--format", "json", "--baseline", baseline).stdout)]
    assert {"baseline": baseline, "reason": "baseline"} in found and {"baseline": baseline, "reason": "other questions"} in found
    table = results / f"cells/{baseline}/clusters.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",", ";", 1), encoding="utf-8")
    shown = run("show", results, "--baseline", baseline)
    assert shown.returncode == 0 and "clusters.csv is damaged (delete the cell and run again)" in shown.stdout
    assert shown.stderr.count("\n") == 1 and f"{table}:1: no line of this program's" in shown.stderr
    table.unlink()
    assert "no clusters.csv (run again)" in run("show", results, "--baseline", baseline).stdout


def test_show_prints_every_value_of_a_task(mixed, run):
    process, results = mixed
    table = run("show", results).stdout
    assert process.stdout == table
    assert all(name in table for name in TASK_METRICS)
    lines = read_csv(run("show", results, "--format", "csv").stdout)
    rows = read_rows(results)
    for line in lines:
        for name, metric in rows[line["id"]]["metrics"].items():
            assert float(line[name]) == metric["value"] and int(line[f"{name}_count"]) == metric["count"]


def test_show_prints_rows_of_tasks_alone(run, asked, lines_file, tmp_path):
    row, _, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))})
    text = run("show", tmp_path / "asked").stdout
    assert "choice/acc" in text and f"{row['metrics']['choice/acc']['value']:.5g}" in text
    assert "no intervals: 3 questions are fewer than 4" in text
    assert "nan" not in text


def test_show_prints_a_value_that_has_no_standard_error(run, asked, lines_file, tmp_path):
    row, _, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS)), "limit": 1})
    assert row["metrics"]["choice/acc"] == {"value": 0, "stderr": None, "count": 1, "clusters": 1, "low": None, "high": None}
    assert "choice/acc" in run("show", tmp_path / "asked").stdout


def test_show_prints_the_bits_per_byte_of_one_document(run, experiment, tmp_path):
    file = experiment({"data.documents": 1, "windows": {"length": 64, "bos": "start", "targets": "beyond", "tail": "fill"}, "sweep": None,
                       "metrics": ["bits_per_byte"]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    (row,) = read_rows(tmp_path / "results").values()
    text = run("show", tmp_path / "results").stdout
    assert "bits_per_byte" in text and f"{row['metrics']['bits_per_byte']['value']:.3f}"[:5] in text


def report(results):
    written = subprocess.run([sys.executable, REPO / "scripts/report.py", results], capture_output=True, text=True, check=False)
    assert written.returncode == 0, written.stderr
    return (results / "report.md").read_text(encoding="utf-8")


def test_the_report_draws_the_heat_map_and_the_curve_of_positions(mixed):
    _, results = mixed
    text = report(results)
    for name in ("task_passkey", "nll_by_position"):
        assert f"({name}.png)" in text and f"({name}.svg)" in text
        assert (results / f"{name}.png").stat().st_size > 1000 and (results / f"{name}.svg").stat().st_size > 1000
    in_heat_map = {name for name in TASK_METRICS if re.search(r"/accuracy_\d+$", name)}
    assert in_heat_map and all((name in text) == (name not in in_heat_map) for name in TASK_METRICS)
    linked = set(re.findall(r"\]\(([^)]+\.(?:png|svg))\)", text))
    assert linked and all((results / name).exists() for name in linked)


def test_the_report_of_tasks_alone_is_written(asked, lines_file, tmp_path):
    row, _, _ = asked(PASSKEY, {"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))})
    text = report(tmp_path / "asked")
    assert row["id"] in text and "(task_passkey.png)" in text and "choice/acc" in text
