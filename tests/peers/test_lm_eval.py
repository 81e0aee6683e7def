"""Multiple choice against lm-evaluation-harness itself on the same questions: log-likelihoods, and acc and acc_norm question by question."""
import os

import pytest
import yaml

from conftest import model_folder
from support.lm_eval_peer import TASKS, ask, write_bench, write_tasks
from support.program import REPO, read_csv, read_rows

QUESTIONS = 12
# float32 on both sides; sums of up to a hundred terms of some nats each.
TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    if "QROAR_DATA" not in os.environ:
        pytest.skip("QROAR_DATA is not set")
    folder = tmp_path_factory.mktemp("bench")
    files = write_bench(os.environ["QROAR_DATA"], folder, QUESTIONS)
    write_tasks(files, folder / "tasks")
    return files, folder / "tasks"


def test_every_choice_is_the_harness_own(bench, run, tmp_path):
    model, (files, tasks) = model_folder("smollm2-135m"), bench
    ours = []
    for name in TASKS:
        config = yaml.safe_load((REPO / f"configs/tasks/{name}.yaml").read_text(encoding="utf-8"))
        ours += [task | {"path": str(files[name])} for task in config["tasks"]]
    experiment = tmp_path / "tasks.yaml"
    experiment.write_text(yaml.safe_dump({"model": {"path": str(model), "dtype": "float32", "device": "cpu"}, "windows": {"length": 8192},
                                          "tasks": ours}), encoding="utf-8")
    process = run("run", experiment, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (row,) = read_rows(tmp_path / "results").values()
    theirs = ask(model, tasks)
    assert set(theirs) == set(TASKS)
    for name in TASKS:
        answers = theirs[name]
        lines = read_csv((tmp_path / "results/cells" / row["id"] / f"tasks/{name}.csv").read_text(encoding="utf-8"))
        assert len(lines) == len(answers) == QUESTIONS
        for line, (likelihoods, acc, acc_norm) in zip(lines, answers):
            assert [float(x) for x in line["log_likelihoods"].split()] == pytest.approx(likelihoods, abs=TOLERANCE), (name, line["id"])
            assert (line["choice"] == line["label"]) == bool(acc), (name, line["id"])
            if name != "winogrande":
                assert (line["choice_norm"] == line["label"]) == bool(acc_norm), (name, line["id"])
        assert row["metrics"][f"{name}/acc"]["value"] == pytest.approx(sum(acc for _, acc, _ in answers) / QUESTIONS)
        assert (f"{name}/acc_norm" in row["metrics"]) == (name != "winogrande")
