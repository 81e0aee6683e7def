"""`check` keeps its promise: what it lets pass runs, it names every bad cell, and says what the experiment will take."""
import json
import re

import pytest

from support.program import TEXT, copy_of_tiny_books, read_rows
from support.tasks import QUESTIONS, write_lines


def test_every_bad_cell_is_named_once(run, experiment):
    file = experiment({"sweep": [{"rope": [{"type": "none"}, {"type": "linear", "factor": 0.5}, {"type": "yarn", "factor": 2, "beta": 1}],
                                  "windows.length": [32, 64]}]})
    process = run("check", file)
    assert process.returncode == 1 and process.stdout == ""
    lines = process.stderr.splitlines()
    assert len(lines) == 2, process.stderr
    assert "factor: expected auto or a number from 1" in lines[0] and lines[0].endswith("(2 of 6 cells)")
    assert "beta" in lines[1] and lines[1].endswith("(2 of 6 cells)")


def test_bad_texts_of_several_cells_are_named(run, experiment, tmp_path):
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "broken.jsonl").write_text("{\n", encoding="utf-8")
    file = experiment({"sweep": [{"data.path": [str(tmp_path / "empty.jsonl"), str(tmp_path / "broken.jsonl")], "windows.length": [32, 64]}]})
    process = run("check", file)
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 2
    assert "holds no documents" in process.stderr and "broken JSON" in process.stderr


def two_models(tmp_path, **config):
    good, bad = copy_of_tiny_books(tmp_path / "good"), copy_of_tiny_books(tmp_path / "bad", **config)
    return good, bad, {"sweep": [{"model.path": [str(bad), str(good)], "windows.length": [32, 64]}]}


def check_one_model_fails(run, experiment, changes, bad, text, tmp_path):
    file = experiment(changes)
    checked = run("check", file)
    assert checked.returncode == 1 and len(checked.stderr.splitlines()) == 1, checked.stderr
    assert str(bad) in checked.stderr and text in checked.stderr and "(2 of 4 cells)" in checked.stderr
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 1
    rows = read_rows(tmp_path / "results")
    assert sorted(row["status"] for row in rows.values()) == ["failed", "failed", "ok", "ok"]
    for row in rows.values():
        assert (row["axes"]["model.path"] == str(bad)) == (row["status"] == "failed")
        assert row["status"] == "ok" or text in row["error"]
    assert process.stdout.count("failed") >= 2  # the table shows them beside the others
    shown = run("show", tmp_path / "results")
    assert shown.returncode == 0 and text in shown.stdout


def test_a_model_whose_weights_cannot_be_opened_is_a_failed_cell_beside_others(run, experiment, tmp_path):
    _, bad, changes = two_models(tmp_path)
    (bad / "model.safetensors").write_bytes(b"short")
    check_one_model_fails(run, experiment, changes, bad, "too short for safetensors", tmp_path)


def test_questions_for_a_model_that_cannot_be_opened_fail_its_cells_alone(run, experiment, tmp_path):
    _, bad, changes = two_models(tmp_path)
    (bad / "model.safetensors").write_bytes(b"short")
    questions = write_lines(tmp_path / "questions.jsonl", QUESTIONS)
    changes["tasks"] = [{"type": "multiple_choice", "path": str(questions), "prompt": "{query}"}]
    changes["sweep"][0]["windows.length"] = [64, 128]
    check_one_model_fails(run, experiment, changes, bad, "too short for safetensors", tmp_path)


def test_a_model_whose_config_is_refused_is_a_failed_cell_beside_others(run, experiment, tmp_path):
    _, bad, changes = two_models(tmp_path, quantization_config={"quant_method": "awq"})
    check_one_model_fails(run, experiment, changes, bad, 'quant_method "awq"', tmp_path)


def test_a_model_whose_tokenizer_cannot_be_read_is_a_failed_cell_beside_others(run, experiment, tmp_path):
    _, bad, changes = two_models(tmp_path)
    (bad / "tokenizer.model").write_bytes(b"\x0a\xff\xff broken")
    check_one_model_fails(run, experiment, changes, bad, "not a SentencePiece model", tmp_path)


def test_a_mended_model_runs_and_the_others_stay(run, experiment, tmp_path):
    good, bad, changes = two_models(tmp_path, quantization_config={"quant_method": "awq"})
    file = experiment(changes)
    run("run", file, "--results", tmp_path / "results")
    (bad / "config.json").write_bytes((good / "config.json").read_bytes())
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    assert "2 of 4 cells were finished already" in process.stderr
    assert "failed" not in process.stdout


@pytest.mark.parametrize("changes, text", [({"export": {"folder": ""}}, "export.folder: expected a path, found an empty text"),
                                           ({"export": {"folder": "loop/x"}}, "loop"), ({"export": {"folder": "x" * 300}}, "File name too long"),
                                           ({"model": {"path": "loop"}}, "model.path: "), ({"seed": "9" * 100_000}, "seed: ")])
def test_a_path_that_cannot_be_looked_at_is_one_line_and_the_next_file_is_checked(run, experiment, changes, text, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    bad, good = experiment(changes | {"sweep": None}, "bad.yaml"), experiment({"sweep": None}, "good.yaml")
    process = run("check", bad, good, cwd=tmp_path)
    assert process.returncode == 1 and "good.yaml: 1 jobs" in process.stdout, process.stderr
    assert len(process.stderr.splitlines()) == 1 and str(bad) in process.stderr and text in process.stderr and len(process.stderr) < 1000


def test_check_says_what_an_experiment_takes_and_estimates_from_this_machines_rows(run, experiment, tmp_path):
    file = experiment()
    first = run("check", file, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert re.search(r"4 cells, 8 windows of 384 tokens, [\d.e-]+ TFLOP; largest memory about 0\.\d GB\n", first.stdout), first.stdout
    assert "here" not in first.stdout
    assert run("run", file, cwd=tmp_path).returncode == 0
    for results in ("results/other", "results/of/more/other"):
        second = run("check", file, "--results", results, cwd=tmp_path)
        assert re.search(r": 4 jobs\n  4 cells, .*; about \d+s here, by the rate of this machine's last rows\n", second.stdout), second.stdout
    (lost, *_) = (tmp_path / "results").glob("*/cells/*/row.json")
    lost.unlink()
    third = run("check", file, cwd=tmp_path)
    assert re.search(r": 4 jobs, 3 of them finished\n  1 cells, .*; about \d+s here", third.stdout), third.stdout
    assert run("run", file, cwd=tmp_path).returncode == 0
    assert re.search(r": 4 jobs, 4 of them finished\n  0 cells, 0 windows of 0 tokens, 0 TFLOP", run("check", file, cwd=tmp_path).stdout)
    (tmp_path / "elsewhere").mkdir()  # without rows of this machine
    plain, free, dear = (
        float(re.search(r"([\d.e+-]+) TFLOP", run("check", experiment(changes, f"{name}.yaml"), cwd=tmp_path / "elsewhere").stdout)[1])
        for name, changes in (("plain", {}), ("free", {"diagnostics": ["phase"]}), ("dear", {"diagnostics": [{"type": "sensitivity", "windows": 100}]}))
    )
    assert plain == free and dear == pytest.approx(9 * plain, rel=0.02)  # a gradient counts as 8 forwards of each window


def test_attention_without_a_kernel_counts_in_the_estimated_memory(run, experiment, lines_file):
    """Scores of 256 queries four times and keys and values in full width: 4 heads of 64 numbers, 20 KB a token in float32."""
    changes = {"sweep": None, "data.path": str(lines_file("long", [{"id": "long", "text": "word " * 60_000}])), "windows": {"length": 50_000}}
    kv = {"type": "fake_quant", "key": {"type": "rtn", "bits": 4, "group": 32}, "residual": 64}

    def memory(name, more):
        return float(re.search(r"memory about ([\d.]+) GB", run("check", experiment(changes | more, f"{name}.yaml")).stdout)[1])

    assert memory("residual", {"kv": kv}) - memory("plain", {}) == pytest.approx(1.02, abs=0.11)
    assert memory("double", {"model.dtype": "float64"}) - 2 * memory("plain", {}) == pytest.approx(1.8, abs=0.2)  # 2 of keys and values


def test_the_estimate_goes_by_rows_of_the_same_model_and_dtype_first(run, experiment, tmp_path):
    """A row's rate is changed by hand, a million times: an estimate that goes by it differs, and says whose rate it is."""
    file, other = experiment({"sweep": None}), experiment({"sweep": None, "model.dtype": "bfloat16"}, "other.yaml")
    assert run("run", file, cwd=tmp_path).returncode == 0
    estimate = run("check", other, cwd=tmp_path).stdout
    assert re.search(r"; about \d+s here, by the rate of this machine's last rows of other models or dtypes\n", estimate), estimate
    assert run("run", other, cwd=tmp_path).returncode == 0
    (row,) = (tmp_path / "results/other/cells").glob("*/row.json")
    row.write_text(json.dumps(json.loads(row.read_text()) | {"model_tflops_per_second": 1e-9}))
    for asked, far in ((file, False), (other, True)):
        estimate = run("check", asked, "--results", "results/more/new", "--set", "windows.length=100", cwd=tmp_path).stdout
        assert estimate.endswith("by the rate of this machine's last rows\n"), estimate
        assert ("h" in re.search(r"about (\w+) here", estimate)[1]) == far, estimate


def test_a_search_that_cells_share_is_counted_once(run, experiment):
    """With a budget that outweighs all evaluation: the search, and for the control with one temperature that and its own of the same cost."""
    def tflop(lengths, budget):
        search = {"data": {"path": str(TEXT), "documents": 1}, "lengths": [64], "short_length": 32, "budget": budget}
        file = experiment({"data.skip": 1, "rescale": {"type": "bands", "search": search}, "sweep": [{"windows.length": lengths}]})
        return float(re.search(r"([\d.e+-]+) TFLOP", run("check", file).stdout)[1])

    assert tflop([32, 48, 64], 10_000) == pytest.approx(tflop([64], 10_000), rel=0.05)
    assert tflop([64], 20_000) == pytest.approx(2 * tflop([64], 10_000), rel=0.05)
