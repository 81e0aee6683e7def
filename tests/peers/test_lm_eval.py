"""Multiple choice against lm-evaluation-harness itself on the same questions: log-likelihoods, and acc and acc_norm question by question."""
import json
import os
import random

import pytest
import yaml

from conftest import model_folder
from support.lm_eval_peer import TASKS, ask, write_bench, write_tasks
from support.program import REPO, TEXT, read_csv, read_rows
from support.tasks import tokens_of, write_lines

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


def answered(run, folder, model, tasks, window=8192):
    """The row of the tasks, and of each its lines."""
    experiment = folder / "tasks.yaml"
    experiment.write_text(yaml.safe_dump({"model": {"path": str(model), "dtype": "float32", "device": "cpu"}, "windows": {"length": window},
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


# ---- questions that are longer than the window

CUT = 48  # questions of each form

def questions_longer_than(window):
    """{task: [question]} with prompts from a few words to several windows and choices from a word to most of a window."""
    draw = random.Random(window)
    words = " ".join(json.loads(line)["text"] for line in TEXT.read_text(encoding="utf-8").splitlines()).split()

    def piece(least, most, bound):
        """So many words, or fewer, with no more tokens than `bound`."""
        begin, count = draw.randrange(len(words) - most - 1), draw.randint(least, max(most, least))
        while len(tokens_of(" ".join(words[begin:begin + count]))) > bound:
            count -= 1
        return " ".join(words[begin:begin + count]) or piece(least, most, bound)

    # White space at the prompt's end is the continuation's; the harness sums in float32, which long ones would show.
    room = min(window, 64) - 4
    plain, blank = [], []
    for i in range(CUT):
        # What the blank is filled with is not scored, so that it may be longer than what is.
        choices = [piece(1, draw.choice([1, 3, window // 2, window]), room) for _ in range(draw.randint(2, 5))]
        query = piece(2, draw.choice([3, window, 3 * window]), 10 * window) + draw.choice(["", " ", "\u3000", "\n\n"])
        plain.append({"id": f"plain-{i}", "query": query, "choices": choices, "label": draw.randrange(len(choices))})
        sentence = f"{piece(2, 2 * window, 10 * window)} _ {piece(1, window // 2, room)}"
        blank.append({"id": f"blank-{i}", "sentence": sentence, "choices": choices[:2], "label": draw.randrange(2)})
    return {"hellaswag": plain, "winogrande": blank}


def counts(question, bos):
    """Tokens of each choice with its prompt."""
    return [len(tokens_of(f"{question['query']} {choice}")) + bos for choice in question["choices"]]


@pytest.mark.parametrize("bos", [False, True], ids=["without BOS", "with BOS"])
@pytest.mark.parametrize("window", [8, 32, 128])
def test_every_choice_is_cut_as_the_harness_cuts_it(run, tmp_path, window, bos):
    model, questions = model_folder("tiny-books"), questions_longer_than(window)
    files = {name: write_lines(tmp_path / f"{name}.jsonl", lines) for name, lines in questions.items()}
    row, lines = answered(run, tmp_path, model, ours(files, files, bos=bos), window)
    write_tasks(files, tmp_path / "tasks")
    theirs = ask(model, tmp_path / "tasks", max_length=window, add_bos_token=bos)
    for name in files:
        assert len(lines[name]) == CUT
        assert_same(name, lines[name], theirs[name], tolerance=1e-4)
    cut = sum(max(counts(question, bos)) > window + 1 for question in questions["hellaswag"])
    apart = sum(min(counts(question, bos)) <= window + 1 < max(counts(question, bos)) for question in questions["hellaswag"])
    assert cut > CUT / 3 and apart > 0  # some choices of a question are cut and others not
    assert row["metrics"]["hellaswag/cut"] == {"value": cut, "stderr": None, "count": CUT}


def test_a_choice_longer_than_the_window_is_refused_as_the_harness_refuses_it(run, tmp_path):
    model, window = model_folder("tiny-books"), 8
    question = {"query": "A cart comes up the", "choices": ["road", "road that leads down to the mill by the river and on"], "label": 0}
    files = {"hellaswag": write_lines(tmp_path / "hellaswag.jsonl", [question])}
    write_tasks(files, tmp_path / "tasks")
    with pytest.raises(AssertionError):
        ask(model, tmp_path / "tasks", max_length=window, add_bos_token=False)
    with pytest.raises(AssertionError, match="hellaswag.jsonl:1: a choice has .* tokens and the window 8"):
        answered(run, tmp_path, model, ours(files, files), window)


def test_every_choice_of_a_real_model_is_cut_as_the_harness_cuts_it(bench, run, tmp_path):
    model, (files, tasks), window = model_folder("smollm2-135m"), bench, 192
    row, lines = answered(run, tmp_path, model, ours(TASKS, files), window)
    theirs = ask(model, tasks, max_length=window)
    for name in TASKS:
        assert_same(name, lines[name], theirs[name], tolerance=1e-3)
    assert row["metrics"]["boolq/cut"]["value"] > 0


def assert_same(name, lines, answers, tolerance=TOLERANCE):
    assert len(lines) == len(answers)
    for line, (likelihoods, acc, acc_norm) in zip(lines, answers):
        assert [float(x) for x in line["log_likelihoods"].split()] == pytest.approx(likelihoods, abs=tolerance), (name, line["id"])
        assert (line["choice"] == line["label"]) == bool(acc), (name, line["id"])
        if name != "winogrande":
            assert (line["choice_norm"] == line["label"]) == bool(acc_norm), (name, line["id"])
