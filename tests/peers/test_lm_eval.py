"""Multiple choice against lm-evaluation-harness itself on the same questions: log-likelihoods, and acc and acc_norm question by question."""
import os

import pytest
import yaml

from conftest import model_folder
from support.lm_eval_peer import TASKS, ask, write_bench, write_tasks
from support.program import REPO, read_csv, read_rows

QUESTIONS = 8
# float32 on both sides; sums of up to a hundred terms of some nats each.
TOLERANCE = 2e-3
SHOTS = 2
SHOWN = ["arc_easy", "winogrande"]  # what shots are tried on
ASKED = 4  # after them


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    if "QROAR_DATA" not in os.environ:
        pytest.skip("QROAR_DATA is not set")
    folder = tmp_path_factory.mktemp("bench")
    files = write_bench(os.environ["QROAR_DATA"], folder, QUESTIONS)
    write_tasks(files, folder / "tasks")
    few = write_bench(os.environ["QROAR_DATA"], folder / "few", SHOTS + ASKED)
    write_tasks({name: few[name] for name in SHOWN}, folder / "shots", shots=SHOTS)
    return files, folder / "tasks"


def ours(names, files, **options):
    """The tasks of configs/tasks, of these files."""
    tasks = []
    for name in names:
        config = yaml.safe_load((REPO / f"configs/tasks/{name}.yaml").read_text(encoding="utf-8"))
        tasks += [task | {"path": str(files[name])} | options for task in config["tasks"]]
    return tasks


def answered(run, folder, model, tasks):
    """The row of the tasks, and of each its lines."""
    experiment = folder / "tasks.yaml"
    experiment.write_text(yaml.safe_dump({"model": {"path": str(model), "dtype": "float32", "device": "cpu"}, "windows": {"length": 8192},
                                          "tasks": tasks}), encoding="utf-8")
    process = run("run", experiment, "--results", folder / "results")
    assert process.returncode == 0, process.stderr
    (row,) = read_rows(folder / "results").values()
    tables = (folder / "results/cells" / row["id"] / "tasks").glob("*.csv")
    return row, {path.stem: read_csv(path.read_text(encoding="utf-8")) for path in tables}


def test_every_choice_is_the_harness_own(bench, run, tmp_path):
    model, (files, tasks) = model_folder("smollm2-135m"), bench
    row, lines = answered(run, tmp_path, model, ours(TASKS, files))
    theirs = ask(model, tasks)
    assert set(theirs) == set(TASKS)
    for name in TASKS:
        assert_same(name, lines[name], theirs[name])
        assert len(lines[name]) == QUESTIONS
        assert row["metrics"][f"{name}/acc"]["value"] == pytest.approx(sum(acc for _, acc, _ in theirs[name]) / QUESTIONS)
        assert (f"{name}/acc_norm" in row["metrics"]) == (name != "winogrande")


def test_every_choice_after_shots_is_the_harness_own(bench, run, tmp_path):
    model, (files, tasks) = model_folder("smollm2-135m"), bench
    _, lines = answered(run, tmp_path, model, ours(SHOWN, files, shots=SHOTS, limit=ASKED))
    theirs = ask(model, tasks.parent / "shots")
    assert set(theirs) == set(SHOWN)
    for name in SHOWN:
        # The harness asks the first questions too, and shows them the next ones; those after them see the very first, as here.
        assert_same(name, lines[name], theirs[name][SHOTS:])


def assert_same(name, lines, answers):
    assert len(lines) == len(answers)
    for line, (likelihoods, acc, acc_norm) in zip(lines, answers):
        assert [float(x) for x in line["log_likelihoods"].split()] == pytest.approx(likelihoods, abs=TOLERANCE), (name, line["id"])
        assert (line["choice"] == line["label"]) == bool(acc), (name, line["id"])
        if name != "winogrande":
            assert (line["choice_norm"] == line["label"]) == bool(acc_norm), (name, line["id"])
