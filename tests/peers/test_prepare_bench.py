"""scripts/prepare_bench.py: what becomes of the releases' and the hub's formats; HellaSwag's cleaning against lm-evaluation-harness itself."""
import json
import lzma

import pytest
import yaml
from lm_eval.tasks.hellaswag.utils import preprocess

from conftest import shared_data
from support.program import REPO, assert_one_line, litter

NAMES = ["arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "boolq"]
ARC = {"id": "Q_1", "question": {"stem": "Why?", "choices": [{"text": "so", "label": "A"}, {"text": "not", "label": "B"}]}, "answerKey": "B"}
ARC_HUB = {"id": "Q_2", "question": "How?", "choices": {"text": ["up", "down", "on"], "label": ["1", "2", "3"]}, "answerKey": "1"}
HELLASWAG = {"ind": 24, "activity_label": "Roof repair", "ctx_a": "[header] How to mend [title] Climb up.", "ctx_b": "a Man [step]  nails", "ctx": "x",
             "endings": [" sits [substeps] down. ", "runs.", "is [title] up", "x"], "label": 3}
PIQA = {"goal": "Open a jar", "sol1": "twist ", "sol2": "shout", "label": 1}
WINOGRANDE = {"qID": "3Q-1", "sentence": "Ann saw Bo since _ waved.", "option1": "Ann", "option2": "Bo", "answer": "2"}
BOOLQ = {"question": "is ice cold", "title": "Ice", "answer": True, "passage": "Ice -- Frozen water."}
LONGBENCH = {"_id": "ab12", "input": "Who?", "context": "Zoë did.", "answers": ["Zoë", "she"], "length": 2, "dataset": "x", "language": "en",
             "all_classes": None}


@pytest.fixture
def prepared(run_script, monkeypatch, tmp_path):
    """prepared(name, rows, argument...) -> the lines made of them."""
    monkeypatch.delenv("QROAR_DATA", raising=False)

    def prepare(name, rows, *arguments):
        source, out = tmp_path / "source.jsonl.xz", tmp_path / "out"
        source.write_bytes(lzma.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        process = run_script("prepare_bench.py", name, "--source", source, "--out", out, *arguments)
        assert process.returncode == 0, process.stderr
        assert process.stdout == f"{out}/{name}.jsonl: {len(rows)} questions from {source}\n"
        return [json.loads(line) for line in (out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]

    return prepare


@pytest.mark.parametrize(("name", "rows", "wanted"), [
    ("arc_challenge", [ARC, ARC_HUB], [{"id": "Q_1", "query": "Why?", "choices": ["so", "not"], "label": 1},
                                       {"id": "Q_2", "query": "How?", "choices": ["up", "down", "on"], "label": 0}]),
    ("hellaswag", [HELLASWAG, HELLASWAG | {"ind": 31, "ctx_b": "", "label": "0"}],
     [{"id": "24", "query": "Roof repair: How to mend. Climb up. A man  nails", "choices": ["sits down.", "runs.", "is. up", "x"], "label": 3},
      {"id": "31", "query": "Roof repair: How to mend. Climb up.", "choices": ["sits down.", "runs.", "is. up", "x"], "label": 0}]),
    ("piqa", [PIQA, PIQA | {"label": 0}], [{"id": "piqa:1", "query": "Open a jar", "choices": ["twist ", "shout"], "label": 1},
                                           {"id": "piqa:2", "query": "Open a jar", "choices": ["twist ", "shout"], "label": 0}]),
    ("winogrande", [WINOGRANDE, WINOGRANDE | {"qID": "3Q-2", "answer": "1"}],
     [{"id": "3Q-1", "sentence": "Ann saw Bo since _ waved.", "choices": ["Ann", "Bo"], "label": 1},
      {"id": "3Q-2", "sentence": "Ann saw Bo since _ waved.", "choices": ["Ann", "Bo"], "label": 0}]),
    ("boolq", [BOOLQ, BOOLQ | {"answer": False}],
     [{"id": f"boolq:{number}", "passage": "Ice -- Frozen water.", "query": "is ice cold", "choices": ["no", "yes"], "label": label}
      for number, label in ((1, 1), (2, 0))]),
    ("longbench_hotpotqa", [LONGBENCH, LONGBENCH | {"_id": "cd", "input": ""}],
     [{"id": "ab12", "input": "Who?", "context": "Zoë did.", "answers": ["Zoë", "she"]},
      {"id": "cd", "input": "", "context": "Zoë did.", "answers": ["Zoë", "she"]}]),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_release_becomes_the_lines_that_the_tasks_read(prepared, name, rows, wanted):
    assert prepared(name, rows) == wanted


@pytest.mark.parametrize("text", ["", " a [x] b ", "Mend [title] a   roof [step] now", "a]b [c", "[header] x [title] y [title]", "a [b\nc] d"])
def test_hellaswag_is_cleaned_as_the_harness_does(prepared, text):
    (line,) = prepared("hellaswag", [HELLASWAG | {"activity_label": text, "endings": [text, "x"], "label": 0}])
    assert line["query"] == preprocess(f'{text}: {HELLASWAG["ctx_a"]} {HELLASWAG["ctx_b"].capitalize()}')
    assert line["choices"] == [preprocess(text), "x"]


def test_labels_of_piqa_may_be_a_file_of_their_own(prepared, tmp_path):
    (tmp_path / "labels.lst").write_text("1\n0\n", encoding="utf-8")
    bare = {key: value for key, value in PIQA.items() if key != "label"}
    assert [line["label"] for line in prepared("piqa", [bare, bare], "--labels", tmp_path / "labels.lst")] == [1, 0]


def test_all_unpacks_our_own_files_unchanged_to_where_the_tasks_look(run_script, tmp_path):
    shared_data("bench")
    process = run_script("prepare_bench.py", "all", "--out", tmp_path)
    assert process.returncode == 0, process.stderr
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (tmp_path / f"{name}.jsonl").read_bytes() == lzma.decompress(shared_data(f"bench/{name}.jsonl.xz").read_bytes())
        block = (REPO / f"configs/tasks/{name}.yaml").read_text(encoding="utf-8")
        assert yaml.safe_load(block)["tasks"][0]["path"] == f"data/bench/{name}.jsonl" and "scripts/prepare_bench.py" in block


def test_the_program_answers_questions_that_were_made_of_a_release(run, experiment, prepared, tmp_path):
    prepared("arc_easy", [ARC, ARC_HUB])
    prepared("longbench_hotpotqa", [LONGBENCH])
    tasks = [{"type": "multiple_choice", "path": str(tmp_path / "out/arc_easy.jsonl"), "prompt": "Question: {query}\nAnswer:"},
             {"type": "qa", "path": str(tmp_path / "out/longbench_hotpotqa.jsonl"), "new_tokens": 2}]
    process = run("run", experiment({"tasks": tasks, "data": None, "windows": {"length": 256}, "sweep": None}), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (row,) = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "results").glob("cells/*/row.json")]
    assert row["metrics"]["arc_easy/acc"]["count"] == 2 and row["metrics"]["longbench_hotpotqa/f1"]["count"] == 1


@pytest.mark.parametrize(("name", "row", "change", "part"), [
    ("arc_easy", ARC, {"answerKey": "C"}, '"answerKey" is "C", not one of A, B'),
    ("arc_easy", ARC, {"question": {"stem": "Why?"}}, 'no "choices"'),
    ("arc_easy", ARC_HUB, {"choices": ["up"]}, '"choices" is ["up"], not an object'),
    ("hellaswag", HELLASWAG, {"label": 4}, '"label" is 4, not one of 0, 1, 2, 3'),
    ("hellaswag", HELLASWAG, {"label": ""}, '"label" is "", not one of'),
    ("hellaswag", HELLASWAG, {"endings": ["a", 5]}, '"endings" is ["a", 5], not a list of texts'),
    ("hellaswag", HELLASWAG, {"ctx_b": None}, '"ctx_b" is null, not a text'),
    ("piqa", PIQA, {"goal": ...}, 'no "goal"'),
    ("piqa", PIQA, {"label": ...}, 'no "label"'),
    ("piqa", PIQA, {"label": -1}, '"label" is -1, not one of 0, 1'),
    ("winogrande", WINOGRANDE, {"answer": "3"}, '"answer" is "3", not one of 1, 2'),
    ("boolq", BOOLQ, {"answer": "yes"}, '"answer" is "yes", not true or false'),
    ("longbench_qasper", LONGBENCH, {"answers": []}, '"answers" is empty'),
    ("arc_easy", {"query": "a", "choices": ["b", "c"], "label": 1}, {"label": 2}, '"label" is 2, and the 2 choices are counted from 0'),
    ("arc_easy", {"query": "a", "choices": ["b", "c"], "label": 1}, {"choices": ["b"]}, "1 choices; at least 2"),
])
def test_a_bad_question_is_named_and_nothing_is_written(run_script, tmp_path, name, row, change, part):
    bad = {key: value for key, value in (row | change).items() if value is not ...}
    (tmp_path / "source.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(bad) + "\n", encoding="utf-8")
    process = run_script("prepare_bench.py", name, "--source", tmp_path / "source.jsonl", "--out", tmp_path / "out")
    assert_one_line(process, f"prepare_bench: {tmp_path}/source.jsonl:2: {part}")
    assert not (tmp_path / f"out/{name}.jsonl").exists() and not litter(tmp_path)


def test_labels_that_do_not_fit_are_named(run_script, tmp_path):
    source, labels = tmp_path / "source.jsonl", tmp_path / "labels.lst"
    labels.write_text("1\n0\n", encoding="utf-8")
    source.write_text(json.dumps({"goal": "a", "sol1": "b", "sol2": "c"}) + "\n", encoding="utf-8")
    ask = ("prepare_bench.py", "piqa", "--source", source, "--labels", labels, "--out", tmp_path)
    assert_one_line(run_script(*ask), f"{source}: 1 questions and 2 labels")
    source.write_text(2 * (json.dumps(PIQA) + "\n"), encoding="utf-8")
    assert_one_line(run_script(*ask), f"{source}:1: has a label of its own; leave --labels out")
    assert_one_line(run_script("prepare_bench.py", "boolq", *ask[2:]), "--labels is for piqa")


def test_an_unknown_benchmark_and_a_missing_file_are_named(run_script, monkeypatch, tmp_path):
    assert_one_line(run_script("prepare_bench.py", "arc"), "no benchmark 'arc'; known: arc_easy, ")
    assert_one_line(run_script("prepare_bench.py", "all", "--source", tmp_path / "x.jsonl"), "--source is for one benchmark")
    monkeypatch.setenv("QROAR_DATA", str(tmp_path))
    assert_one_line(run_script("prepare_bench.py", "piqa", "--out", tmp_path), f"{tmp_path}/bench/piqa.jsonl.xz")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    assert_one_line(run_script("prepare_bench.py", "piqa", "--source", tmp_path / "empty.jsonl", "--out", tmp_path), "empty.jsonl: holds no questions")
    assert not (tmp_path / "piqa.jsonl").exists()
