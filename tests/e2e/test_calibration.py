"""Calibrated quantizers in whole runs: what they give tiny-books, what is kept on disk, and the errors of what cannot be."""
import copy
import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor

from support.program import (
    TEXT, TINY_BOOKS, copy_of_tiny_books, lasting, litter, read_csv, read_rows, tiny_books_tokenizer_hash, write_token_file)


def rule(**weight):
    return [{"match": "layers.*", "weight": {"group": 64, "bits": 3} | weight}]


CALIBRATION = {"data": {"path": str(TEXT)}, "samples": 4, "length": 64}


@pytest.fixture
def calibrated(experiment):
    """calibrated({dotted key: value}, **weight) -> an experiment of one cell with such a quantizer."""

    def write(changes=None, name="calibrated.yaml", **weight):
        return experiment({"sweep": None, "quant": rule(**weight), "calibration": copy.deepcopy(CALIBRATION)} | (changes or {}), name)

    return write


@pytest.fixture
def cached(tmp_path):
    """Options of run() that give the program a cache of its own, and the folder with the calibrations."""
    return {"env": os.environ | {"QROAR_CACHE": str(tmp_path / "cache")}}, tmp_path / "cache/calibration"


def test_rows_of_two_versions_of_the_calibration_texts_are_not_compared(run, calibrated, tmp_path):
    """A run of one cell alone, after its texts have changed, leaves such rows beside each other."""
    texts = tmp_path / "texts.jsonl"
    texts.write_text(TEXT.read_text(encoding="utf-8"), encoding="utf-8")
    file = calibrated({"calibration.data.path": str(texts), "sweep": [{"quant": [rule(type="gptq"), rule(type="gptq", bits=4)]}]}, type="gptq")
    assert run("run", file, "--results", tmp_path / "out").returncode == 0
    three, four = sorted(read_rows(tmp_path / "out").values(), key=lambda row: row["config"]["quant"][0]["weight"]["bits"])
    texts.write_text("".join(reversed(TEXT.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")
    assert run("run", file, "--results", tmp_path / "out", "--only", four["id"]).returncode == 0
    shown = run("show", tmp_path / "out", "--baseline", three["id"]).stdout
    assert "the calibration changed between them; run both again" in shown
    assert "warning: some rows read another version of the calibration than others do" in shown


def test_two_texts_of_one_name_beside_two_files_are_two(run, experiment, tmp_path):
    """`path: text.jsonl` of an included file is the one beside that file, also where the experiment's own is called so."""
    texts = TEXT.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "lib").mkdir()
    for folder, text in (("", texts[0]), ("lib", texts[1])):
        (tmp_path / folder / "text.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "lib/texts.yaml").write_text("calibration: {data: {path: text.jsonl}, samples: 4, length: 64}\n", encoding="utf-8")
    found = {}
    for name, changes in (("included", {"include": ["lib/texts.yaml"]}),
                          ("whole", {"calibration": CALIBRATION | {"data": {"path": str(tmp_path / "lib/text.jsonl")}}})):
        file = experiment({"data.path": "text.jsonl", "quant": rule(type="gptq"), "sweep": None} | changes, f"{name}.yaml")
        process = run("run", file, "--results", tmp_path / name)
        assert process.returncode == 0, process.stderr
        (row,) = read_rows(tmp_path / name).values()
        found[name] = row["environment"]["inputs"]["calibration"], row["metrics"]["nll"]
    assert found["included"] == found["whole"]


def test_awq_and_gptq_cost_tiny_books_less_than_rtn(run, experiment, tmp_path):
    kinds = [rule(type="rtn"), rule(type="awq"), rule(type="gptq"), []]
    file = experiment({"sweep": [{"quant": kinds}], "windows.length": 512, "calibration": CALIBRATION | {"samples": 8, "length": 128}})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "results").values()
    rtn, awq, gptq, none = (next(row for row in rows if row["axes"]["quant"] == kind)["metrics"]["nll"]["value"] for kind in kinds)
    assert none < awq < rtn and none < gptq < rtn


@pytest.mark.parametrize("kind", ["awq", "gptq", "smoothquant"])
def test_a_calibration_is_made_once_and_gives_the_same_row_from_the_cache(run, calibrated, cached, tmp_path, kind):
    options, folder = cached
    file = calibrated(type=kind)
    first = run("run", file, "--results", tmp_path / "results", **options)
    assert first.returncode == 0 and "calibration from" not in first.stderr, first.stderr
    rows = read_rows(tmp_path / "results")
    assert len(list(folder.iterdir())) == 1
    again = run("run", file, "--results", tmp_path / "results", "--rerun", **options)
    assert f"calibration from {folder}" in again.stderr
    assert [lasting(row) for row in read_rows(tmp_path / "results").values()] == [lasting(row) for row in rows.values()]


def test_gptq_finds_the_same_on_any_number_of_threads(run, calibrated, tmp_path):
    file = calibrated({"calibration.samples": 3, "calibration.length": 128}, type="gptq", bits=4, group=32)
    for threads in "12":
        own = os.environ | {"QROAR_CACHE": str(tmp_path / f"cache{threads}"), "OMP_NUM_THREADS": threads}
        assert run("run", file, "--results", tmp_path / threads, env=own).returncode == 0
    one, two = (next(iter(read_rows(tmp_path / threads).values())) for threads in "12")
    assert (one["environment"]["threads"], two["environment"]["threads"]) == (1, 2)
    assert one["metrics"] == two["metrics"]


def test_what_a_calibration_depends_on_makes_another_one(run, calibrated, cached, tmp_path):
    options, folder = cached
    model = copy_of_tiny_books(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] += 1
    (tmp_path / "other").mkdir()
    other = copy_of_tiny_books(tmp_path / "other/model")
    save_file(tensors, other / "model.safetensors")
    changes = [{"model.path": str(model)}, {"model.path": str(other)}, {"calibration.seed": 1}, {"calibration.length": 32},
               {"model.dtype": "bfloat16"}, {"calibration.rope": "evaluated", "rope": {"type": "linear", "factor": 4}},
               # The same frequencies, and another attention factor.
               {"calibration.rope": "evaluated", "rope": {"type": "yarn", "factor": 4}},
               {"calibration.rope": "evaluated", "rope": {"type": "ntk_by_parts", "factor": 4, "ramp": "index"}}]
    for i, change in enumerate(changes):
        process = run("run", calibrated(change, f"e{i}.yaml", type="awq"), "--results", tmp_path / f"results{i}", **options)
        assert process.returncode == 0, process.stderr
        assert len(list(folder.iterdir())) == i + 1
    # The scheme of the evaluation alone does not.
    process = run("run", calibrated({"model.path": str(model), "rope": {"type": "linear", "factor": 4}}, type="awq"), "--results",
                  tmp_path / "results", **options)
    assert process.returncode == 0 and "calibration from" in process.stderr


@pytest.mark.parametrize(("kind", "weights"), [("gptq", "resident"), ("awq", "resident"), ("gptq", "streamed")])
def test_a_calibration_that_is_killed_goes_on_at_its_layer_with_the_same_bits(start, run, calibrated, cached, tmp_path, kind, weights):
    options, folder = cached
    file = calibrated({"calibration.samples": 14, "calibration.length": 128, "model.weights": weights}, type=kind)
    whole = os.environ | {"QROAR_CACHE": str(tmp_path / "whole")}
    assert run("run", file, "--results", tmp_path / "expected", env=whole).returncode == 0
    with start("run", file, "--results", tmp_path / "results", **options) as process:
        while process.poll() is None and not list(folder.glob("*.unfinished/layers.2.safetensors")):  # the samples have passed two layers
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not read_rows(tmp_path / "results")
    again = run("run", file, "--results", tmp_path / "results", **options)
    assert again.returncode == 0 and "calibration goes on at layer" in again.stderr, again.stderr
    assert [lasting(row) for row in read_rows(tmp_path / "results").values()] == [lasting(row) for row in read_rows(tmp_path / "expected").values()]
    (made,), (expected,) = (list(cache.iterdir()) for cache in (folder, tmp_path / "whole/calibration"))
    assert made.read_bytes() == expected.read_bytes() and not litter(tmp_path)


@pytest.mark.parametrize("name", ["samples.safetensors", "layers.0.safetensors"])
def test_a_damaged_piece_of_an_unfinished_calibration_starts_it_again(start, run, calibrated, cached, tmp_path, name):
    options, folder = cached
    file = calibrated({"calibration.samples": 14, "calibration.length": 128}, type="gptq")
    with start("run", file, "--results", tmp_path / "results", **options) as process:
        while process.poll() is None and not list(folder.glob("*.unfinished/samples.safetensors")):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    (piece,) = folder.glob(f"*.unfinished/{name}")
    content = bytearray(piece.read_bytes())
    content[-1] ^= 1
    piece.write_bytes(content)
    again = run("run", file, "--results", tmp_path / "results", **options)
    assert again.returncode == 0 and "calibrating again" in again.stderr and "goes on" not in again.stderr, again.stderr
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


def test_the_same_tokens_in_other_samples_make_another_calibration(run, calibrated, cached, tmp_path):
    options, folder = cached
    model = TINY_BOOKS / "tokenizer.model"
    tokens = SentencePieceProcessor(model_file=str(model)).encode(json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"])[:256]
    write_token_file(tmp_path / "one.tok", tiny_books_tokenizer_hash(), {"one": tokens})
    found = {}
    for samples, length in ((1, 256), (2, 128)):
        file = calibrated({"calibration": {"data": {"path": str(tmp_path / "one.tok")}, "samples": samples, "length": length}}, type="gptq")
        process = run("run", file, "--results", tmp_path / f"r{length}", **options)
        assert process.returncode == 0 and "calibration from" not in process.stderr, process.stderr
        (found[length],) = read_rows(tmp_path / f"r{length}").values()
    assert len(list(folder.iterdir())) == 2
    assert found[256]["metrics"]["nll"]["value"] != found[128]["metrics"]["nll"]["value"]


def test_a_cell_without_calibration_does_not_know_of_it(run, experiment, tmp_path):
    ids = set()
    for i, length in enumerate((64, 32)):
        file = experiment({"sweep": None, "quant": rule(type="rtn"), "calibration": CALIBRATION | {"length": length}}, f"{i}.yaml")
        run("run", file, "--results", tmp_path / f"r{i}")
        ids |= set(read_rows(tmp_path / f"r{i}"))
    assert len(ids) == 1


def test_diagnostics_compare_folded_weights(run, calibrated, tmp_path):
    process = run("run", calibrated({"diagnostics": ["quant_error"]}, type="awq"), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (table,) = (tmp_path / "results").glob("cells/*/diagnostics/quant_error.csv")
    whole = [row for row in read_csv(table.read_text(encoding="utf-8")) if not row["band"] and row["site"] != "lm_head"]
    assert len(whole) == 40 and all(5 < float(row["output_snr_db"]) < 40 for row in whole)


# ---- errors

def test_too_short_a_calibration_text_is_refused_before_anything_runs(refused, calibrated):
    refused(calibrated({"calibration.samples": 1000}, type="awq"), TEXT, "blocks of 64 tokens and calibration.samples asks for 1000", "lower")


def test_a_calibrated_quantizer_asks_for_texts(refused, experiment):
    file = experiment({"sweep": None, "quant": rule(type="gptq")})
    refused(file, f"{file}:", "quant: a quantizer here needs calibration texts; add calibration: {data: {path: ")


def test_a_missing_calibration_text_has_a_place(refused, calibrated):
    file = calibrated({"calibration.data.path": "nowhere.jsonl"}, type="gptq")
    refused(file, f"{file}:", "calibration.data.path: ", "nowhere.jsonl: no such file")


def test_a_misspelled_key_of_calibration_is_named(refused, calibrated):
    refused(calibrated({"calibration.sed": 3}, type="awq"), "calibration.sed: unknown key; did you mean 'seed'?")


def test_a_group_that_does_not_divide_names_layer_and_sizes(refused, calibrated):
    refused(calibrated(type="awq", group=96), "group 96 does not divide the 256 inputs of layers.0.self_attn.q_proj", "64, 128")


@pytest.mark.parametrize("site", ["lm_head", "embed_tokens"])
def test_what_no_decoder_layer_holds_is_not_calibrated(refused, calibrated, site):
    quant = [{"match": site, "weight": {"type": "awq", "group": 64}}]
    refused(calibrated({"quant": quant}), "lm_head is not part of a decoder layer" if site == "lm_head" else "'embed_tokens' matches no layer")


def test_a_wide_rule_leaves_the_output_head_alone(run, calibrated, tmp_path):
    quant = [{"match": "*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]
    process = run("run", calibrated({"quant": quant, "diagnostics": ["quant_error"]}), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    (table,) = (tmp_path / "results").glob("cells/*/diagnostics/quant_error.csv")
    (head,) = [row for row in read_csv(table.read_text(encoding="utf-8")) if row["site"] == "lm_head"]
    assert float(head["max_error"]) == 0


@pytest.mark.parametrize("kind", ["awq", "gptq", "smoothquant"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_activations_that_are_not_finite_fail_the_cell_and_name_the_layer(failed, calibrated, tmp_path, kind, value):
    model = copy_of_tiny_books(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.2.mlp.down_proj.weight"][5, 7] = torch.tensor(value)
    save_file(tensors, model / "model.safetensors")
    failed(calibrated({"model.path": str(model)}, type=kind), "calibration: values that are not finite come out of layers.2 for sample 0")


def test_a_hessian_that_is_not_positive_definite_fails_the_cell_and_says_what_to_do(failed, calibrated):
    # Fewer tokens than inputs, and no damping.
    changes = {"calibration.samples": 1, "calibration.length": 16}
    failed(calibrated(changes, type="gptq", percdamp=0), "Hessian of layers.0.self_attn.q_proj is not positive definite", "percdamp")
