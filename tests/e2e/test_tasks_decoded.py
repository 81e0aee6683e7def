"""Tasks that are answered by greedy decoding in whole runs of tiny-books: hidden numbers (passkey) and questions with free answers (qa)."""
import json
import re

import pytest
from sentencepiece import SentencePieceProcessor

from support.program import REPO, TINY_BOOKS, copy_of_tiny_books, lasting, read_csv, read_rows
from support.tasks import ASKED, LONG, PASSKEY, WINDOW, tokens_of

# ---- hidden numbers

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


def test_rows_that_hide_other_numbers_are_not_compared(run, experiment, tmp_path):
    """They asked other questions of the same lengths and depths."""
    tasks = [[PASSKEY | {"seed": seed}] for seed in (0, 1)]
    assert run("run", experiment({"data": None, "windows": {"length": 128}, "sweep": [{"tasks": tasks}]}), "--results", tmp_path / "out").returncode == 0
    rows = json.loads(run("show", tmp_path / "out", "--format", "json", "--baseline", "tasks[0].seed=0").stdout)
    assert [row["paired"].get("reason") for row in rows] == ["baseline", "other questions"]


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


def test_an_answer_has_all_of_its_tokens(answered):
    """The last one is no other than those before it: one token is an answer, and a longer answer begins with it."""
    _, whole, _ = answered(NOBODY, stop="", new_tokens=8)
    _, one, _ = answered(NOBODY, stop="", new_tokens=1)
    _, two, _ = answered(NOBODY, stop="", new_tokens=2)
    for first, more, all_of_it in zip(one, two, whole, strict=True):
        assert first["answer"] and more["answer"].startswith(first["answer"]) and more["answer"] != first["answer"]
        assert all_of_it["answer"].startswith(more["answer"])


def test_an_answer_ends_where_the_model_ends_it(answered, tmp_path):
    _, lines, _ = answered(NOBODY, stop="")
    stop = SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model")).piece_to_id(".")
    assert any("." in line["answer"] for line in lines)
    model = copy_of_tiny_books(tmp_path / "model", eos_token_id=stop)
    _, ended, _ = answered(NOBODY, stop="", **{"model.path": str(model)})
    assert [line["answer"].rstrip(".").strip() for line in ended] == [line["answer"].split(".")[0].strip() for line in lines]


def test_generation_config_says_what_ends_an_answer_and_what_is_not_followed(answered, tmp_path):
    """As transformers' generate(): its eos_token_id comes before config.json's, and other keys change the answers of others."""
    row, lines, _ = answered(NOBODY, stop="")
    stop = SentencePieceProcessor(model_file=str(TINY_BOOKS / "tokenizer.model")).piece_to_id(".")
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, stop], "do_sample": True, "repetition_penalty": 1.05}), encoding="utf-8")
    other, ended, _ = answered(NOBODY, stop="", **{"model.path": str(model)})
    assert [line["answer"].rstrip(".").strip() for line in ended] == [line["answer"].split(".")[0].strip() for line in lines]
    assert other["environment"]["inputs"]["tasks"] != row["environment"]["inputs"]["tasks"]
    (warning,) = other["warnings"]
    assert warning.startswith("free: generation_config.json has repetition_penalty 1.05, with which transformers answers otherwise") and "warnings" not in row
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "repetition_penalty": 1}), encoding="utf-8")  # as config.json, and neutral
    same, _, _ = answered(NOBODY, stop="", **{"model.path": str(model)})
    assert same["environment"]["inputs"]["tasks"] == row["environment"]["inputs"]["tasks"] and "warnings" not in same


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
