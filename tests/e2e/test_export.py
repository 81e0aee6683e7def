"""The block `export` of an experiment: what comes out runs again and says the same, and what cannot be exported says so."""
import json

import pytest

from support.program import TEXT, assert_one_line, read_rows

BASE = {"data": {"path": str(TEXT)}, "windows": {"length": 256, "truncate": True}, "rope": {"type": "yarn", "factor": 2}, "sweep": None,
        "quant": [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}],
        "rescale": {"type": "bands", "bands": 2, "scales": [1.1, 0.95]}}


@pytest.fixture
def exporting(experiment, tmp_path):
    return lambda changes=None, name="export.yaml": experiment(BASE | {"export": {"folder": str(tmp_path / "out")}} | (changes or {}), name)


def test_an_exported_cell_runs_again_by_its_own_config_and_says_the_same(run, exporting, experiment, tmp_path):
    assert run("run", exporting(), "--results", tmp_path / "a").returncode == 0
    (row,) = read_rows(tmp_path / "a").values()
    again = experiment({"model.path": str(tmp_path / "out"), "data": BASE["data"], "windows": BASE["windows"], "sweep": None,
                        "rope": {"type": "model"}}, "again.yaml")
    process = run("run", again, "--results", tmp_path / "b")
    assert process.returncode == 0, process.stderr
    (exported,) = read_rows(tmp_path / "b").values()
    assert exported["metrics"]["nll"]["value"] == pytest.approx(row["metrics"]["nll"]["value"], abs=1e-6)
    marker = json.loads((tmp_path / "out/qroar_export.json").read_text())
    assert marker["provenance"]["cell"] == row["id"]


def test_an_export_is_in_no_id_and_is_made_again_when_it_is_gone(run, exporting, tmp_path):
    file = exporting()
    assert run("run", file, "--results", tmp_path / "a").returncode == 0
    ids = set(read_rows(tmp_path / "a"))
    assert "finished already" in run("run", file, "--results", tmp_path / "a").stderr
    (tmp_path / "out").rename(tmp_path / "moved")
    assert run("run", file, "--results", tmp_path / "a").returncode == 0
    assert set(read_rows(tmp_path / "a")) == ids
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tmp_path / "moved/model.safetensors").read_bytes()


def test_full_precision_weights_keep_the_scales_and_lose_the_rounding(run, exporting, experiment, tmp_path):
    file = exporting({"export": {"folder": str(tmp_path / "full"), "weights": "full_precision"}})
    assert run("run", file, "--results", tmp_path / "a").returncode == 0
    unquantized = experiment(BASE | {"quant": []}, "unquantized.yaml")
    again = experiment({"model.path": str(tmp_path / "full"), "data": BASE["data"], "windows": BASE["windows"], "sweep": None,
                        "rope": {"type": "model"}}, "again.yaml")
    values = []
    for index, experiment_file in enumerate((unquantized, again)):
        assert run("run", experiment_file, "--results", tmp_path / f"r{index}").returncode == 0
        values += [row["metrics"]["nll"]["value"] for row in read_rows(tmp_path / f"r{index}").values()]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


@pytest.mark.parametrize(("changes", "parts"), [
    ({"rope": {"type": "dynamic_ntk"}}, ["export.yaml", "export", "other frequencies at other lengths"]),
    ({"model.rope_dtype": "bfloat16"}, ["export", "leave out model.rope_dtype"]),
    ({"sweep": [{"windows.length": [128, 256]}]}, ["two cells export into this folder"]),
    ({"export": {"folder": "out", "weight": "x"}}, ["export.weight", "did you mean 'weights'"]),
])
def test_what_cannot_be_exported_is_refused_before_anything_runs(run, exporting, tmp_path, changes, parts):
    assert_one_line(run("run", exporting(changes), "--results", tmp_path / "a"), *parts)


def test_activations_that_are_rounded_cannot_be_exported(run, exporting, tmp_path):
    rule = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}, "input": {"type": "rtn", "bits": 8, "group": 0}}
    process = run("run", exporting({"quant": [rule]}), "--results", tmp_path / "a")
    assert process.returncode == 1
    (row,) = read_rows(tmp_path / "a").values()
    assert row["status"] == "failed" and "layers.0" in row["error"]
    assert not (tmp_path / "out").exists()
