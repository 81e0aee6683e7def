"""Caches of calibrations and searches hold nothing that was computed while the model changed, nor what another kind of processor would find."""
import contextlib
import json
import os
import struct
import time

import pytest

from support.program import TEXT, copy_of_tiny_books, read_rows
from support.tasks import write_lines

# In the dtype of the file, so that weights are mapped and a change of the file is one of the model's.
CALIBRATED = {"sweep": None, "model.dtype": "bfloat16", "quant": [{"match": "layers.*", "weight": {"type": "gptq", "bits": 3, "group": 32}}]}
SEARCH = {"data": {"path": str(TEXT), "documents": 1}, "lengths": [128], "short_length": 32, "guard": 1, "guide": "none", "budget": 8,
          "strategy": {"type": "random"}}
SEARCHED = {"sweep": None, "model.dtype": "bfloat16", "data.skip": 1, "rescale": {"type": "bands", "bands": 2, "search": SEARCH}}


@pytest.fixture
def cached(tmp_path):
    """Options of run() that give the program a cache of its own, and that cache."""
    return {"env": os.environ | {"QROAR_CACHE": str(tmp_path / "cache")}}, tmp_path / "cache"


@pytest.fixture
def slow_calibration(tmp_path):
    """The block `calibration` of one that takes some seconds."""
    text = json.loads(TEXT.read_text(encoding="utf-8").splitlines()[0])["text"]
    data = write_lines(tmp_path / "calibration.jsonl", [{"id": "0", "text": text * 8}])
    return {"calibration": {"data": {"path": str(data)}, "samples": 64, "length": 128}}


@contextlib.contextmanager
def zeroed(file, tensor):
    """Overwrites a tensor of a checkpoint in its place, and puts it back."""
    whole = file.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    begin, end = json.loads(whole[8:8 + length])[tensor]["data_offsets"]
    with open(file, "r+b") as stream:
        stream.seek(8 + length + begin)
        stream.write(bytes(end - begin))
    yield
    with open(file, "r+b") as stream:
        stream.write(whole)


def wait_until(condition, process):
    while process.poll() is None and not condition():
        time.sleep(0.002)


def assert_changes_are_not_kept(run, start, file, cached, model, tensor, is_begun, tmp_path):
    """A run during which the model changes says so, and the next one, with the model as it was, ends as one with a fresh cache."""
    options, cache = cached
    fresh = os.environ | {"QROAR_CACHE": str(tmp_path / "fresh")}
    assert run("run", file, "--results", tmp_path / "undisturbed", env=fresh).returncode == 0
    process = start("run", file, "--results", tmp_path / "results", **options)
    wait_until(lambda: is_begun(cache), process)
    with zeroed(model / "model.safetensors", tensor):
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stderr
    errors = [row["error"] for row in read_rows(tmp_path / "results").values() if row["error"]]  # the next cell takes the model as it is by then
    assert errors and all("model.safetensors: changed while it was read; run again" in error for error in errors), stderr
    again = run("run", file, "--results", tmp_path / "results", **options)
    assert again.returncode == 0, again.stderr
    rows, undisturbed = read_rows(tmp_path / "results"), read_rows(tmp_path / "undisturbed")
    assert {cell: row["metrics"] for cell, row in rows.items()} == {cell: row["metrics"] for cell, row in undisturbed.items()}
    return rows, undisturbed


@pytest.mark.parametrize("weights", ["resident", "streamed"])
def test_a_calibration_of_weights_that_change_is_not_kept(run, start, experiment, cached, slow_calibration, tmp_path, weights):
    model = copy_of_tiny_books(tmp_path / "model")
    lengths = {"model.weights": weights, "windows": {"truncate": True, "lengths": [32, 64]}}  # two cells of one model
    file = experiment(CALIBRATED | slow_calibration | lengths | {"model.path": str(model)})
    assert_changes_are_not_kept(run, start, file, cached, model, "model.layers.4.mlp.up_proj.weight",
                                lambda cache: list(cache.glob("calibration/*.unfinished/samples.safetensors")), tmp_path)


def test_scores_of_weights_that_change_are_not_kept(run, start, experiment, cached, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    search = SEARCH | {"lengths": [512], "budget": 12}
    file = experiment(SEARCHED | {"model.path": str(model), "rescale": {"type": "bands", "bands": 2, "search": search}})

    def has_scores(cache):
        return any(journal.read_bytes().count(b"\n") >= 2 for journal in cache.glob("search/*/journal.jsonl"))

    rows, undisturbed = assert_changes_are_not_kept(run, start, file, cached, model, "model.norm.weight", has_scores, tmp_path)
    for cell, row in rows.items():
        assert row.get("search", {}).get("g") == undisturbed[cell].get("search", {}).get("g")


def test_a_calibration_that_is_cut_off_under_a_cell_fails_it(run, start, experiment, cached, slow_calibration, tmp_path):
    options, cache = cached
    file = experiment(CALIBRATED | slow_calibration | {"model.weights": "streamed", "windows": {"length": 64, "stride": 8}})
    assert run("run", file, "--results", tmp_path / "whole", **options).returncode == 0
    (found,) = cache.glob("calibration/*.safetensors")
    process = start("run", file, "--results", tmp_path / "results", **options)
    assert any(f"calibration from {found}" in line for line in iter(process.stderr.readline, ""))
    os.truncate(found, 8192)
    process.communicate(timeout=120)
    assert process.returncode == 1
    (row,) = read_rows(tmp_path / "results").values()
    assert row["status"] == "failed" and f"{found}: changed while it was read; run again" in row["error"]
    assert run("run", file, "--results", tmp_path / "results", **options).returncode == 0
    (again,), (whole,) = (read_rows(tmp_path / name).values() for name in ("results", "whole"))
    assert again["metrics"] == whole["metrics"]


@pytest.mark.parametrize(("changes", "made"), [
    (CALIBRATED | {"calibration": {"data": {"path": str(TEXT)}, "samples": 2, "length": 64}}, "calibration/*.safetensors"),
    (SEARCHED, "search/*/journal.jsonl")], ids=["calibration", "search"])
def test_what_another_instruction_set_found_is_not_used(run, experiment, cached, tmp_path, changes, made):
    options, cache = cached
    file, count = experiment(changes), []
    for name, setting in (("first", {}), ("other", {"ATEN_CPU_CAPABILITY": "default"}), ("again", {})):
        process = run("run", file, "--results", tmp_path / name, env=options["env"] | setting)
        assert process.returncode == 0, process.stderr
        count.append(len(list(cache.glob(made))))
    assert count[1] == 2 * count[0] == count[2]
