"""Files that change: while a cell runs, between runs, and under a part of a cell that is kept on disk."""
import json
import os
import random
import signal
import time

import pytest

from support.program import REPO, copy_of_tiny_books, read_rows

LONG = {"sweep": None, "windows.length": 64, "windows.truncate": False, "data.path": str(REPO / "tests/support/text.jsonl"), "metrics": ["perplexity"]}


def wait_for_parts(process, results, count):
    """Until the running cell has so many finished parts; its partial.jsonl."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        for file in results.glob("cells/*/partial.jsonl"):
            if file.read_bytes().count(b"\n") > count:
                return file
        time.sleep(0.002)
    pytest.fail("the cell ended before it could be changed")


@pytest.fixture
def slow(experiment, tmp_path):
    """An experiment of one cell of many windows on a model of its own: (file, model, results)."""
    model = copy_of_tiny_books(tmp_path / "model")
    text = json.loads((REPO / "tests/support/text.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    (tmp_path / "long.jsonl").write_text(json.dumps({"id": "long", "text": text * 8}), encoding="utf-8")
    file = experiment(LONG | {"model.path": str(model), "data.path": str(tmp_path / "long.jsonl")})
    return file, model, tmp_path / "results"


def overwrite(file):
    with open(file, "r+b") as stream:
        stream.seek(file.stat().st_size - 1000)
        stream.write(bytes(500))


def restore_times(edit):
    def both(file):
        before = file.stat()
        edit(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    return both


@pytest.mark.parametrize(("name", "edit"), [
    ("model.safetensors", overwrite),
    ("model.safetensors", restore_times(overwrite)),
    ("model.safetensors", lambda file: os.truncate(file, 1_000_000)),
    ("model.safetensors", lambda file: os.truncate(file, 0)),
    ("config.json", lambda file: file.write_text(file.read_text(encoding="utf-8").replace("1e-05", "1e-04"), encoding="utf-8")),
], ids=["bytes", "bytes with the old time", "cut", "emptied", "config"])
def test_a_model_that_changes_under_a_cell_fails_it(start, slow, name, edit):
    file, model, results = slow
    process = start("run", file, "--results", results)
    wait_for_parts(process, results, 2)
    edit(model / name)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, (process.returncode, stderr)
    (row,) = read_rows(results).values()
    assert row["status"] == "failed" and f"{model}/{name}: changed while it was read; run again" in row["error"]
    assert row["metrics"] == {}


def test_a_changed_tokenizer_makes_cells_unfinished_and_parts_unusable(run, start, slow):
    file, model, results = slow
    process = start("run", file, "--results", results)
    partial = wait_for_parts(process, results, 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    header = json.loads(partial.read_text(encoding="utf-8").splitlines()[0])
    assert set(header["inputs"]["inputs"]) >= {"model", "tokenizer", "data"}
    # A field that SentencePiece does not know and skips: the same tokens from another file.
    with open(model / "tokenizer.model", "ab") as tokenizer:
        tokenizer.write(b"\xfa\x3f\x01x")
    again = run("run", file, "--results", results)
    assert again.returncode == 0, again.stderr
    assert "were finished already" not in again.stderr
    with open(model / "tokenizer.model", "ab") as tokenizer:
        tokenizer.write(b"\xfa\x3f\x01y")
    changed = run("run", file, "--results", results)
    assert "its model, tokenizer, data or RoPE factors changed" in changed.stderr


FACTORS = {"type": "longrope", "factor": 2, "factors": "factors.json"}


@pytest.mark.parametrize(("changes", "key", "metric"), [
    ({"rope": FACTORS}, "short_factor", "nll"),  # of windows of at most 512 tokens
    ({"reference": {"path": "model", "rope": FACTORS}, "metrics": ["kl_divergence"]}, "long_factor", "kl_divergence"),
], ids=["short windows", "reference"])
def test_files_of_factors_that_change_between_runs_make_cells_unfinished(run, experiment, tmp_path, changes, key, metric):
    copy_of_tiny_books(tmp_path / "model")
    if key == "long_factor":
        (tmp_path / "model/config.json").write_text((tmp_path / "model/config.json").read_text(encoding="utf-8").replace(
            '"max_position_embeddings": 512', '"max_position_embeddings": 64'), encoding="utf-8")
    file = experiment({"sweep": None, "windows.length": 600 if key == "short_factor" else 128, "data.documents": 1, "data.max_tokens": 300} | changes)
    found = []
    for factor in (1, 4):
        factors = {"short_factor": [2] * 32, "long_factor": [2] * 32} | {key: [factor] * 32}
        (tmp_path / "factors.json").write_text(json.dumps(factors), encoding="utf-8")
        process = run("run", file, "--results", tmp_path / "results")
        assert process.returncode == 0 and "finished already" not in process.stderr, process.stderr
        (row,) = read_rows(tmp_path / "results").values()
        found.append(row["metrics"][metric]["value"])
    assert found[0] != found[1]


def test_another_record_of_an_import_makes_cells_unfinished(run, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    file = experiment({"sweep": None, "model.path": str(model)})
    for bits in (4.25, 3.25):
        (model / "imported.json").write_text(json.dumps({"label": "GPTQ W4", "bits_per_weight": bits}), encoding="utf-8")
        assert run("run", file, "--results", tmp_path / "results").returncode == 0
        (row,) = read_rows(tmp_path / "results").values()
        assert row["environment"]["imported"]["bits_per_weight"] == bits


AWQ = [{"match": "layers.*", "weight": {"type": "awq", "bits": 3, "group": 64}}]
SEARCH = {"lengths": [128], "short_length": 32, "guard": 1, "guide": "none", "grid": {"points": 3}, "quantization": {"quant": []}}


@pytest.mark.parametrize("changes", [
    lambda file: {"quant": AWQ, "calibration": {"data": {"path": str(file)}, "samples": 2, "length": 64}},
    lambda file: {"rescale": {"type": "bands", "bands": 2, "search": SEARCH | {"data": {"path": str(file)}}}},
], ids=["calibration", "dev"])
def test_texts_that_a_model_is_made_with_and_that_change_between_runs_make_it_anew(run, experiment, tmp_path, changes):
    words = json.loads((REPO / "tests/support/text.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"].split()
    texts, found = tmp_path / "texts.jsonl", []
    file = experiment({"sweep": None, "data.skip": 1} | changes(texts))
    options = {"env": os.environ | {"QROAR_CACHE": str(tmp_path / "cache")}}
    for seed in (1, 2):
        texts.write_text(json.dumps({"id": "a", "text": " ".join(random.Random(seed).sample(words, 300))}), encoding="utf-8")
        process = run("run", file, "--results", tmp_path / "results", **options)
        assert process.returncode == 0 and "were finished already" not in process.stderr, process.stderr
        (row,) = read_rows(tmp_path / "results").values()
        found.append(row)
    assert found[0]["id"] == found[1]["id"] and found[0]["environment"]["inputs"] != found[1]["environment"]["inputs"]
    if "search" in found[0]:
        assert found[0]["search"]["identity_nll"] != found[1]["search"]["identity_nll"]
    else:
        assert found[0]["metrics"]["nll"]["value"] != found[1]["metrics"]["nll"]["value"]


@pytest.mark.parametrize("setting", [{"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"MKL_CBWR": "COMPATIBLE"},
                                     {"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8"}])
def test_parts_of_another_instruction_set_are_not_gone_on_with(run, start, slow, setting):
    file, _, results = slow
    process = start("run", file, "--results", results)
    wait_for_parts(process, results, 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = run("run", file, "--results", results, env=os.environ | {"QROAR_CACHE": str(results / "cache")} | setting)
    assert again.returncode == 0, again.stderr
    assert "were finished already" not in again.stderr
    (row,) = read_rows(results).values()
    assert row["environment"]["settings"] == setting or row["environment"]["cpu_capability"] == "AVX2"
