"""Questions and answers that are right by one reading and wrong by another: twins, answers without words, answers that end within a character."""
import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from support.program import TINY_BOOKS, assert_one_line, copy_of_tiny_books, read_rows
from support.tasks import write_lines

QUERY = "A cart comes up the"


@pytest.fixture
def refused(run, experiment, tmp_path):
    def check(task, *parts):
        assert_one_line(run("check", experiment({"data": None, "sweep": None, "windows": {"length": 256}, "tasks": [task]})), *parts)

    return check


def test_choices_of_one_text_are_one_choice(asked, tmp_path):
    """Their last bits may differ in a pack; lm-evaluation-harness takes the first of equal ones."""
    lines = [{"query": QUERY, "choices": ["road", "zebra quagga", "road", "road"], "label": 0}] * 20
    file = write_lines(tmp_path / "twins.jsonl", [line | {"id": str(number)} for number, line in enumerate(lines)])
    row, tables, _ = asked({"type": "multiple_choice", "path": str(file)})
    assert row["metrics"]["twins/acc"]["value"] == 1 and {line["choice"] for line in tables["twins"]} == {"0"}


def test_a_question_is_not_asked_behind_its_own_answer(refused, tmp_path):
    line = {"query": QUERY, "choices": ["road", "zebra"], "label": 0}
    asked, shown = tmp_path / "asked.jsonl", tmp_path / "shown.jsonl"
    write_lines(asked, [line | {"id": "a"}])
    write_lines(shown, [line | {"id": "b"}, line | {"id": "c", "query": "Another"}])
    task = {"type": "multiple_choice", "path": str(asked), "shots": 1, "shots_path": str(shown)}
    refused(task, f"{asked}:1: is the question of {shown}:1, which is shown with its answer before it", "take other shots")


def test_an_answer_without_words_is_not_matched_by_no_answer(asked, tmp_path):
    file = write_lines(tmp_path / "letters.jsonl", [{"context": QUERY, "answers": answers} for answers in (["A"], ["..."], ["the", "zebra"])])
    _, tables, _ = asked({"type": "qa", "path": str(file), "prompt": "{context}", "stop": "road", "new_tokens": 2})
    assert [(line["answer"].strip(), line["exact_match"]) for line in tables["letters"]] == [("", "0")] * 3, tables


def test_answers_that_end_within_a_character_are_text(run, asked, tmp_path):
    """A vocabulary of bytes, as most have: three tokens make a character of this text."""
    characters = "".join(chr(0x4E00 + 7 * number) for number in range(1500))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    size = json.loads((TINY_BOOKS / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([characters], trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, max_token_length=2))
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "tokenizer.model").unlink()
    tokenizer.save(str(model / "tokenizer.json"))
    file = write_lines(tmp_path / "parts.jsonl", [{"context": characters[10 * number:10 * number + 40], "answers": ["x"]} for number in range(12)])
    _, tables, _ = asked({"type": "qa", "path": str(file), "prompt": "{context}", "stop": "", "new_tokens": 9}, **{"model.path": str(model)})
    assert any("\ufffd" in line["answer"] for line in tables["parts"])
    for form in ("lm_eval", "eee", "json"):
        shown = run("show", tmp_path / "asked", "--format", form)
        assert shown.returncode == 0, shown.stderr


def test_a_table_that_lacks_questions_is_not_exported(run, asked, tmp_path):
    file = write_lines(tmp_path / "all.jsonl", [{"query": f"{QUERY} {number}", "choices": ["road", "zebra"], "label": 0} for number in range(6)])
    asked({"type": "multiple_choice", "path": str(file)})
    (cell,) = read_rows(tmp_path / "asked")
    table = tmp_path / "asked/cells" / cell / "tasks/all.csv"
    whole = table.read_text(encoding="utf-8")
    assert run("show", tmp_path / "asked", "--format", "lm_eval").returncode == 0
    table.write_text("".join(whole.splitlines(keepends=True)[:4]), encoding="utf-8")
    assert_one_line(run("show", tmp_path / "asked", "--format", "lm_eval"), f"{table}: has 3 questions where the row counts 6", "qroar run --rerun")
    table.unlink()
    assert_one_line(run("show", tmp_path / "asked", "--format", "lm_eval"), f"{table}: has 0 questions where the row counts 6")
