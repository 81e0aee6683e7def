"""Tasks in whole runs of tiny-books: multiple choice, hidden numbers, questions with free answers; what a row, a table, `show` and the report
make of them."""
import json
import re
import subprocess
import sys

import pytest
from sentencepiece import SentencePieceProcessor

from support.program import REPO, TEXT, TINY_BOOKS, copy_of_tiny_books, lasting, read_csv, read_rows

WINDOW = 512
# Sums of log-probabilities whose sequences are packed in another way: float32.
TOLERANCE = 1e-4
QUESTIONS = [
    {"id": "kiln", "query": "The kiln stood at the bottom of the", "choices": ["garden", "moon", "sea and the"], "label": 0},
    {"id": "cart", "query": "A cart comes up the", "choices": ["road", "zebra"], "label": 1},
    {"query": "He opened the door and went", "choices": ["in", "quantum"], "label": 0},
]
LONG = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"]


def tokens_of(text):
    return SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model")).encode(text)


@pytest.fixture
def lines_file(tmp_path):
    """lines_file(name, [object]) -> the path of a .jsonl file."""

    def write(name, lines):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return path

    return write


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


@pytest.fixture
def likelihoods(asked, lines_file):
    """likelihoods([question], ...) -> of each question its choices' log-likelihoods."""

    def run_choice(questions, **options):
        _, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", questions)), **options})
        return [[float(x) for x in line["log_likelihoods"].split()] for line in tables["choice"]]

    return run_choice


def assert_close(found, expected):
    assert [len(x) for x in found] == [len(x) for x in expected]
    for one, other in zip(found, expected):
        assert one == pytest.approx(other, abs=TOLERANCE)


def assert_all_differ(found, other):
    assert len(found) == len(other)
    for one, two in zip(found, other):
        assert all(abs(x - y) > TOLERANCE for x, y in zip(one, two, strict=True))


# ---- multiple choice

def test_multiple_choice_takes_the_likeliest_choice_and_the_likeliest_by_character(asked, lines_file):
    row, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))})
    assert list(tables) == ["choice"]
    lines = tables["choice"]
    assert all(list(line) == ["id", "label", "choice", "choice_norm", "log_likelihoods"] for line in lines)
    assert [line["id"] for line in lines[:2]] == ["kiln", "cart"] and lines[2]["id"].endswith("choice.jsonl:3")
    right = right_normed = 0
    for line, question in zip(lines, QUESTIONS, strict=True):
        found = [float(x) for x in line["log_likelihoods"].split()]
        assert len(found) == len(question["choices"]) and max(found) < 0
        normed = [x / len(choice) for x, choice in zip(found, question["choices"])]
        assert int(line["choice"]) == found.index(max(found)) and int(line["choice_norm"]) == normed.index(max(normed))
        assert int(line["label"]) == question["label"]
        right += line["choice"] == line["label"]
        right_normed += line["choice_norm"] == line["label"]
    assert set(row["metrics"]) == {"choice/acc", "choice/acc_norm"}
    for name, count in (("choice/acc", right), ("choice/acc_norm", right_normed)):
        share = count / 3
        assert row["metrics"][name]["value"] == pytest.approx(share) and row["metrics"][name]["count"] == 3
        assert row["metrics"][name]["stderr"] == pytest.approx((share * (1 - share) / 2) ** 0.5)
    assert row["seconds"] > 0 and row["peak_bytes"] > 0 and row["tokens_per_second"] is None


def test_characters_and_not_bytes_divide(asked, lines_file):
    questions = [{"query": "Where?", "choices": ["ééééééé é", "x"], "label": 0}]
    _, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", questions))})
    (line,) = tables["choice"]
    found = [float(x) for x in line["log_likelihoods"].split()]
    assert int(line["choice_norm"]) == int(found[1] / 1 > found[0] / 9)


def test_a_limit_asks_the_first_questions_alone(likelihoods):
    everything = likelihoods(QUESTIONS)
    assert_close(likelihoods(QUESTIONS, limit=2), everything[:2])
    assert_close(likelihoods(QUESTIONS, limit=9), everything)


def test_a_name_is_what_its_metrics_and_its_table_are_called(asked, lines_file):
    path = str(lines_file("choice", QUESTIONS))
    row, tables, _ = asked({"type": "multiple_choice", "path": path, "name": "first", "limit": 2}, {"type": "multiple_choice", "path": path})
    assert set(tables) == {"first", "choice"} and len(tables["first"]) == 2
    assert {name.split("/")[0] for name in row["metrics"]} == {"first", "choice"}


def test_shots_are_the_file_s_first_questions_with_their_answers_and_are_not_asked(likelihoods):
    first, second, third = QUESTIONS
    shown = f"{first['query']} garden\n\n{second['query']} zebra\n\n"
    by_hand = likelihoods([third | {"query": shown + third["query"]}])
    found = likelihoods(QUESTIONS, shots=2)
    assert_close(found, by_hand)
    assert_all_differ(found, likelihoods([third]))
    assert_all_differ(found, likelihoods(QUESTIONS, shots=2, separator="\n"))


def test_shots_of_another_file_leave_every_question_to_be_asked(likelihoods, lines_file):
    other = lines_file("shown", [{"query": "The mill stands by the", "choices": ["river", "star"], "label": 0}])
    found = likelihoods(QUESTIONS, shots=1, shots_path=str(other))
    assert_close(found, likelihoods([question | {"query": "The mill stands by the river\n\n" + question["query"]} for question in QUESTIONS]))


def test_prompts_have_fields_and_braces_and_choices_may_be_the_same_for_all(likelihoods):
    questions = [{"passage": "Marta bought the house.", "query": "did Marta buy it", "label": 1}]
    found = likelihoods(questions, prompt="{passage}\nQ {{1}}: {query}?\nA:", choices=["no", "yes"])
    assert_close(found, likelihoods([{"query": "Marta bought the house.\nQ {1}: did Marta buy it?\nA:", "choices": ["no", "yes"], "label": 1}]))


def test_a_delimiter_stands_between_prompt_and_choice(likelihoods):
    glued = likelihoods(QUESTIONS, delimiter="")
    assert_all_differ(glued, likelihoods(QUESTIONS))
    spaced = [question | {"choices": [" " + choice for choice in question["choices"]]} for question in QUESTIONS]
    assert_close(likelihoods(spaced, delimiter=""), likelihoods(QUESTIONS))


def test_a_blank_is_filled_with_each_choice_and_what_follows_is_scored(asked, likelihoods, lines_file):
    question = {"sentence": "The pot fell on the stone because the _ was loose and old.", "choices": ["handle", "stone"], "label": 0}
    row, tables, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", [question, question | {"label": 1}])),
                            "prompt": "{sentence}", "blank": "_"})
    found = [float(x) for x in tables["choice"][0]["log_likelihoods"].split()]
    for value, choice in zip(found, question["choices"]):
        by_hand = {"query": f"The pot fell on the stone because the {choice}", "choices": ["was loose and old.", "x"], "label": 0}
        assert value == pytest.approx(likelihoods([by_hand])[0][0], abs=TOLERANCE)
    assert set(row["metrics"]) == {"choice/acc"} and row["metrics"]["choice/acc"]["value"] == 0.5
    assert tables["choice"][0]["choice_norm"] == ""


def test_a_bos_comes_before_every_context(likelihoods):
    assert_all_differ(likelihoods(QUESTIONS, bos=True), likelihoods(QUESTIONS))


def test_padding_goes_before_the_prompt_until_both_have_so_many_tokens(likelihoods, tmp_path):
    (tmp_path / "pad.txt").write_text(LONG, encoding="utf-8")
    plain = likelihoods(QUESTIONS)

    def padded(tokens):
        return likelihoods(QUESTIONS, pad={"path": str(tmp_path / "pad.txt"), "tokens": tokens})

    assert_close(padded(4), plain)  # they are longer
    hundred, more = padded(100), padded(200)
    assert_all_differ(hundred, plain)
    assert_all_differ(hundred, more)


def test_padding_up_to_the_window_cuts_nothing_and_beyond_it_is_counted(asked, lines_file, tmp_path):
    (tmp_path / "pad.txt").write_text(LONG * 3, encoding="utf-8")
    task = {"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS))}
    row, _, process = asked(task | {"pad": {"path": str(tmp_path / "pad.txt"), "tokens": WINDOW}})
    assert "choice/cut" not in row["metrics"] and "lose their beginning" not in process.stderr
    row, _, process = asked(task | {"pad": {"path": str(tmp_path / "pad.txt"), "tokens": WINDOW + 2}})
    assert row["metrics"]["choice/cut"]["value"] == 3 and "lose their beginning" in process.stderr


def test_a_prompt_that_is_longer_than_the_window_is_cut_counted_and_logged(run, asked, likelihoods, lines_file, tmp_path):
    words = LONG.split()
    long = QUESTIONS[0] | {"query": " ".join(words[:600])}
    assert len(tokens_of(long["query"])) > WINDOW + 1
    row, _, process = asked({"type": "multiple_choice", "path": str(lines_file("choice", [long, *QUESTIONS[1:]]))})
    assert row["metrics"]["choice/cut"] == {"value": 1, "stderr": None, "count": 3}
    assert f"choice: 1 of 3 prompts are longer than the window of {WINDOW} tokens and lose their beginning" in process.stderr
    log = next((tmp_path / "asked").glob(f"cells/{row['id']}/log.txt"))
    assert row["id"] in log.read_text(encoding="utf-8")
    # What is lost is the beginning: another beginning changes nothing.
    other = long | {"query": " ".join(["Nobody", "knew", "at", "all", *words[4:600]])}
    assert_close(likelihoods([other]), likelihoods([long]))
    assert "choice/cut" in run("show", tmp_path / "asked", "--format", "csv").stdout


def test_changed_questions_under_the_same_path_are_noticed(run, experiment, lines_file, tmp_path):
    path = lines_file("choice", QUESTIONS)
    file = experiment({"data": None, "sweep": None, "tasks": [{"type": "multiple_choice", "path": str(path)}]})
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    assert "1 of 1 cells were finished already" in run("run", file, "--results", tmp_path / "results").stderr
    lines_file("choice", QUESTIONS[:2])
    assert run("run", file, "--results", tmp_path / "results").returncode == 0
    (row,) = read_rows(tmp_path / "results").values()
    assert row["metrics"]["choice/acc"]["count"] == 2


# ---- hidden numbers

PASSKEY = {"type": "passkey", "lengths": [96, 128], "depths": [0, 0.5, 1], "samples": 2}


def first_number(text):
    return next(iter(re.findall(r"\d+", text)), None)


def test_a_hidden_number_is_asked_for_at_every_length_and_depth(asked):
    row, tables, _ = asked(PASSKEY)
    lines = tables["passkey"]
    assert [(line["length"], line["depth"], line["sample"]) for line in lines] == [
        (length, depth, sample) for length in ("96", "128") for depth in ("0", "0.5", "1") for sample in ("0", "1")]
    assert all(list(line) == ["length", "depth", "sample", "key", "answer", "right"] for line in lines)
    assert all(re.fullmatch(r"[1-9]\d{4}", line["key"]) for line in lines) and len({line["key"] for line in lines}) == len(lines)
    for line in lines:
        assert (line["right"] == "1") == (first_number(line["answer"]) == line["key"])
    by_length = {name: [line["right"] == "1" for line in lines if name in ("passkey/accuracy", f"passkey/accuracy_{line['length']}")]
                 for name in row["metrics"]}
    assert set(by_length) == {"passkey/accuracy", "passkey/accuracy_96", "passkey/accuracy_128"}
    for name, right in by_length.items():
        assert row["metrics"][name]["count"] == len(right) and row["metrics"][name]["value"] == pytest.approx(sum(right) / len(right))


def test_every_cell_of_a_sweep_hides_the_same_numbers_and_a_rerun_is_bitwise_the_same(run, experiment, tmp_path):
    file = experiment({"data": None, "windows": {"length": 128}, "tasks": [PASSKEY],
                       "sweep": [{"rope": [{"type": "none"}, {"type": "yarn", "factor": 4}],
                                  "quant": [[], [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]]}]})
    results = tmp_path / "results"
    assert run("run", file, "--results", results).returncode == 0
    tables = {path: path.read_bytes() for path in sorted(results.glob("cells/*/tasks/passkey.csv"))}
    keys = {tuple(line["key"] for line in read_csv(table.decode())) for table in tables.values()}
    assert len(tables) == 4 and len(keys) == 1
    assert len(set(tables.values())) > 1  # the settings change answers
    rows = {cell: lasting(row) for cell, row in read_rows(results).items()}
    assert run("run", file, "--results", results, "--rerun").returncode == 0
    assert {path: path.read_bytes() for path in tables} == tables
    assert {cell: lasting(row) for cell, row in read_rows(results).items()} == rows


def test_another_seed_hides_other_numbers(asked):
    keys = [tuple(line["key"] for line in asked(PASSKEY | seed)[1]["passkey"]) for seed in ({}, {"seed": 0}, {"seed": 1})]
    assert keys[0] == keys[1] and not set(keys[0]) & set(keys[2])


def test_a_text_may_hide_the_number(asked, tmp_path):
    (tmp_path / "text.txt").write_text(LONG, encoding="utf-8")
    plain, text = (asked(PASSKEY | filler)[1]["passkey"] for filler in ({}, {"filler": str(tmp_path / "text.txt")}))
    assert [line["key"] for line in plain] == [line["key"] for line in text]
    assert [line["answer"] for line in plain] != [line["answer"] for line in text]


def test_a_model_that_can_read_finds_the_number(run, experiment, tmp_path):
    model = REPO / "models/smollm2-135m"
    if not model.exists():
        pytest.skip("models/smollm2-135m is not there; scripts/fetch_smollm2 imports it")
    file = experiment({"model": {"path": str(model), "dtype": "float32", "device": "cpu"}, "data": None, "windows": {"length": 192}, "sweep": None,
                       "tasks": [{"type": "passkey", "lengths": [160], "depths": [0.5, 1], "samples": 2}]})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (row,) = read_rows(tmp_path / "results").values()
    assert row["metrics"]["passkey/accuracy"]["value"] >= 0.75


# ---- free answers

ASKED = [{"id": "look", "context": "The old man looked at her for a long time, and then he"},
         {"id": "river", "context": "In the morning they went down to the river, and"},
         {"id": "mill", "context": "There was a mill by the road, and in it"}]


@pytest.fixture
def answered(asked, lines_file):
    """answered([answers of a question], ...) -> (row, the table's lines, process)."""

    def run_qa(answers, questions=None, **options):
        lines = [question | {"answers": list(texts)} for question, texts in zip(questions or ASKED, answers, strict=True)]
        options = {"prompt": "{context}", "new_tokens": 16, "stop": ".", **options}
        changes = {key: options.pop(key) for key in list(options) if "." in key}
        row, tables, process = asked({"type": "qa", "path": str(lines_file("free", lines)), **options}, **changes)
        return row, tables["free"], process

    return run_qa


NOBODY = [["nobody"]] * 3


def normalized(text):
    """SQuAD's normalization."""
    text = re.sub(r"[!-/:-@\[-`{-~]", "", text.lower())
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def scores(lines):
    return [(float(line["exact_match"]), float(line["f1"])) for line in lines]


def test_answers_are_scored_by_exact_match_and_by_f1_against_the_best_reference(answered):
    _, lines, _ = answered(NOBODY)
    assert [list(line) for line in lines] == [["id", "answer", "exact_match", "f1"]] * 3
    assert [line["id"] for line in lines] == ["look", "river", "mill"] and scores(lines) == [(0, 0)] * 3
    texts = [line["answer"] for line in lines]
    words = [normalized(text) for text in texts]
    assert all(len(found) >= 3 for found in words) and "zebra" not in sum(words, [])

    # Case, punctuation, articles and spaces do not count; of several references the best does.
    references = [["nobody", f"The  {texts[0].upper()} !! a"], [texts[1]], ["", f"«{texts[2]}»"]]
    row, lines, _ = answered(references)
    assert scores(lines)[:2] == [(1, 1)] * 2
    assert scores(lines)[2][0] == 0  # « is no ASCII punctuation
    assert row["metrics"]["free/exact_match"]["value"] == pytest.approx(2 / 3)
    assert row["metrics"]["free/exact_match"]["count"] == row["metrics"]["free/f1"]["count"] == 3

    # F1 = 2 same / (found + wanted): n of n + n zebras, 1 of 1, every word twice.
    references = [[texts[0] + " zebra" * len(words[0])], ["zebra", words[1][-1]], [f"{texts[2]} {texts[2]}"]]
    row, lines, _ = answered(references)
    expected = [2 / 3, 2 / (len(words[1]) + 1), 2 / 3]
    assert [exact for exact, _ in scores(lines)] == [0, 0, 0]
    assert [f1 for _, f1 in scores(lines)] == pytest.approx(expected)
    mean = sum(expected) / 3
    assert row["metrics"]["free/f1"]["value"] == pytest.approx(mean)
    assert row["metrics"]["free/f1"]["stderr"] == pytest.approx((sum((x - mean) ** 2 for x in expected) / 6) ** 0.5)


def test_an_answer_ends_at_the_stop_text_or_after_so_many_tokens(answered):
    _, open_ended, _ = answered(NOBODY, stop="")
    _, stopped, _ = answered(NOBODY, stop="a")
    _, short, _ = answered(NOBODY, stop="", new_tokens=3)
    for whole, until, few in zip(open_ended, stopped, short):
        assert until["answer"].strip() == whole["answer"].split("a")[0].strip()
        assert whole["answer"].startswith(few["answer"]) and len(few["answer"]) < len(whole["answer"])
        assert len(tokens_of(few["answer"])) <= 3


def test_an_answer_ends_where_the_model_ends_it(answered, tmp_path):
    _, lines, _ = answered(NOBODY, stop="")
    stop = SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model")).piece_to_id(".")
    assert any("." in line["answer"] for line in lines)
    model = copy_of_tiny_books(tmp_path / "model", eos_token_id=stop)
    _, ended, _ = answered(NOBODY, stop="", **{"model.path": str(model)})
    assert [line["answer"].rstrip(".").strip() for line in ended] == [line["answer"].split(".")[0].strip() for line in lines]


def test_a_prompt_that_is_too_long_loses_its_middle_and_is_counted(answered):
    words = LONG.split()[:600]
    long = {"id": "long", "context": " ".join(words)}
    row, whole, process = answered([["x"], ["x"]], [long, ASKED[0]], new_tokens=32)
    assert row["metrics"]["free/cut"] == {"value": 1, "stderr": None, "count": 2}
    assert f"free: 1 of 2 prompts are longer than the window of {WINDOW} tokens and lose their middle" in process.stderr
    middle = {"id": "long", "context": " ".join([*words[:290], *["zebra"] * 5, *words[295:]])}
    end = {"id": "long", "context": " ".join([*words[:590], *["zebra"] * 10])}
    _, other_middle, _ = answered([["x"]], [middle], new_tokens=32, stop="")
    _, same, _ = answered([["x"]], [long], new_tokens=32, stop="")
    _, other_end, _ = answered([["x"]], [end], new_tokens=32, stop="")
    assert other_middle == same != other_end


def test_a_limit_and_a_bos_of_free_answers(answered):
    _, lines, _ = answered(NOBODY, limit=2)
    assert [line["id"] for line in lines] == ["look", "river"]
    _, plain, _ = answered(NOBODY, bos=False, stop="")
    _, bos, _ = answered(NOBODY, stop="")
    assert [line["answer"] for line in plain] != [line["answer"] for line in bos]


# ---- what is made of them

@pytest.fixture(scope="module")
def mixed(run, tmp_path_factory):
    """Tasks beside windows of text and a curve, over two schemes."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "choice.jsonl").write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS), encoding="utf-8")
    (folder / "free.jsonl").write_text("".join(json.dumps(question | {"answers": ["x"]}) + "\n" for question in ASKED), encoding="utf-8")
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
        assert sorted(path.name for path in folder.iterdir()) == ["log.txt", "metrics", "resolved.yaml", "row.json", "tasks", "windows.csv"]
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
    assert "choice/acc" in text and f"{row['metrics']['choice/acc']['value']:.2f} ± " in text and "questions taken as independent" in text
    assert "nan" not in text


def test_show_prints_a_value_that_has_no_standard_error(run, asked, lines_file, tmp_path):
    row, _, _ = asked({"type": "multiple_choice", "path": str(lines_file("choice", QUESTIONS)), "limit": 1})
    assert row["metrics"]["choice/acc"] == {"value": 0, "stderr": None, "count": 1}
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
