"""The block `export` of an experiment: what comes out runs again and says the same, and what cannot be exported says so."""
import json

import pytest

from support.program import TEXT, assert_one_line, copy_of_tiny_books, read_rows

BASE = {"data": {"path": str(TEXT)}, "windows": {"length": 256, "truncate": True}, "rope": {"type": "yarn", "factor": 2}, "sweep": None,
        "quant": [{"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}],
        "rescale": {"type": "bands", "bands": 2, "scales": [1.1, 0.95]}}


@pytest.fixture
def exporting(experiment, tmp_path):
    return lambda changes=None, name="export.yaml": experiment(BASE | {"export": {"folder": str(tmp_path / "out")}} | (changes or {}), name)


@pytest.mark.parametrize("changes", [{}, {"rounding": {"draw": 3}}], ids=["checkpoint", "rounding draw"])
def test_an_exported_cell_runs_again_by_its_own_config_and_says_the_same(run, exporting, experiment, tmp_path, changes):
    assert run("run", exporting(changes), "--results", tmp_path / "a").returncode == 0
    (row,) = read_rows(tmp_path / "a").values()
    again = experiment({"model.path": str(tmp_path / "out"), "data": BASE["data"], "windows": BASE["windows"], "sweep": None,
                        "rope": {"type": "model"}}, "again.yaml")
    process = run("run", again, "--results", tmp_path / "b")
    assert process.returncode == 0, process.stderr
    (exported,) = read_rows(tmp_path / "b").values()
    assert exported["metrics"]["nll"]["value"] == pytest.approx(row["metrics"]["nll"]["value"], abs=1e-6)
    assert exported["bits_per_weight"] == row["bits_per_weight"] < 5
    assert exported["environment"]["imported"]["label"] == "rtn W4 g64" and "rtn W4 g64" in run("show", tmp_path / "b").stdout
    marker = json.loads((tmp_path / "out/qroar_export.json").read_text())
    assert marker["provenance"]["cell"] == row["id"]


def test_an_export_is_in_no_id_and_is_made_again_when_it_is_gone(run, exporting, experiment, tmp_path):
    file = exporting()
    assert run("run", file, "--results", tmp_path / "a").returncode == 0
    ids = set(read_rows(tmp_path / "a"))
    assert run("run", experiment(BASE, "plain.yaml"), "--results", tmp_path / "b").returncode == 0
    assert set(read_rows(tmp_path / "b")) == ids
    assert "finished already" in run("run", file, "--results", tmp_path / "a").stderr
    (tmp_path / "out").rename(tmp_path / "moved")
    assert run("run", file, "--results", tmp_path / "a").returncode == 0
    assert set(read_rows(tmp_path / "a")) == ids
    assert (tmp_path / "out/model.safetensors").read_bytes() == (tmp_path / "moved/model.safetensors").read_bytes()


def test_an_export_of_a_model_that_has_changed_since_is_made_again(run, exporting, experiment, tmp_path):
    """The row is of the changed model already, from a run without the export, whose cell has the same id."""
    model = copy_of_tiny_books(tmp_path / "model")
    at = ("--set", f"model.path={model}", "--results", tmp_path / "a")
    assert run("run", exporting(), *at).returncode == 0
    before = (tmp_path / "out/model.safetensors").read_bytes()
    content = bytearray((model / "model.safetensors").read_bytes())
    content[-1] ^= 0x80  # the sign of a weight
    (model / "model.safetensors").write_bytes(content)
    assert run("run", experiment(BASE, "export.yaml"), *at).returncode == 0
    assert run("run", exporting(), *at).returncode == 0
    assert (tmp_path / "out/model.safetensors").read_bytes() != before


def test_an_export_that_has_lost_a_file_is_made_again(run, exporting, tmp_path):
    """Its marker alone said that it is there."""
    assert run("run", exporting(), "--results", tmp_path / "a").returncode == 0
    (tmp_path / "out/model.safetensors").unlink()
    assert run("run", exporting(), "--results", tmp_path / "a").returncode == 0
    assert (tmp_path / "out/model.safetensors").exists()


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


def test_full_precision_weights_of_a_rounding_draw_are_rounded_as_in_it(run, exporting, experiment, tmp_path):
    file = exporting({"rounding": {"draw": 3}, "export": {"folder": str(tmp_path / "full"), "weights": "full_precision"}})
    again = experiment({"model.path": str(tmp_path / "full"), "data": BASE["data"], "windows": BASE["windows"], "sweep": None,
                        "rope": {"type": "model"}, "quant": BASE["quant"]}, "again.yaml")
    checkpoint = experiment(BASE, "checkpoint.yaml")
    values = []
    for index, experiment_file in enumerate((file, again, checkpoint)):
        assert run("run", experiment_file, "--results", tmp_path / f"r{index}").returncode == 0
        values += [row["metrics"]["nll"]["value"] for row in read_rows(tmp_path / f"r{index}").values()]
    assert values[0] == pytest.approx(values[1], abs=1e-6) and abs(values[0] - values[2]) > 1e-4


@pytest.mark.parametrize(("changes", "label", "bits"), [({}, "AWQ W4 g128 + rtn W4 g64", 4.3125), ({"quant": []}, "AWQ W4 g128", 4.25), (
    {"export.weights": "full_precision"}, "AWQ W4 g128", 4.25)])
def test_an_export_says_what_was_imported(run, exporting, tmp_path, changes, label, bits):
    imported = {"label": "AWQ W4 g128", "bits_per_weight": 4.25, "method": "awq"}
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "imported.json").write_text(json.dumps(imported), encoding="utf-8")
    assert run("run", exporting({"model.path": str(model)} | changes), "--results", tmp_path / "a").returncode == 0
    assert json.loads((tmp_path / "out/qroar_export.json").read_text(encoding="utf-8"))["provenance"]["imported"] == imported
    said = json.loads((tmp_path / "out/imported.json").read_text(encoding="utf-8"))
    assert (said["label"], said["bits_per_weight"]) == (label, bits)


W4A8 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}, "input": {"type": "rtn", "bits": 8, "group": 0}}
HELD = "which weights in a folder cannot hold"


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(("changes", "parts"), [
    ({"rope": {"type": "dynamic_yarn"}}, ["export.yaml", "export", "no rope_type of config.json can describe"]),
    ({"rope": {"type": "dynamic_ntk"}, "rescale": {"type": "clip_low", "clip_low_n": 4}}, ["no rope_type of config.json can describe"]),
    ({"model.rope_dtype": "bfloat16"}, ["export", "leave out model.rope_dtype"]),
    ({"sweep": [{"windows.length": [128, 256]}]}, ["two cells export into this folder"]),
    ({"export": {"folder": "out", "weight": "x"}}, ["export.weight", "did you mean 'weights'"]),
    ({"quant": [W4A8]}, ["export.yaml", "export", "the inputs of layers.0.self_attn.q_proj are quantized", HELD]),
    ({"quant": [{"match": "lm_head", "input": {"type": "fp8", "group": 0}}]}, ["the inputs of lm_head", HELD]),
    ({"kv": {"type": "fake_quant", "value": {"type": "rtn", "bits": 4, "group": 0}}}, ["`kv`", HELD]),
    ({"rotation": {"type": "hadamard", "online": ["qk"]}}, ["`rotation.online`", HELD]),
    ({"rotation": {"type": "hadamard"}}, ["`rotation.online`", HELD]),
])
def test_what_cannot_be_exported_is_refused_before_anything_runs(run, exporting, tmp_path, verb, changes, parts):
    arguments = ["--results", tmp_path / "a"] if verb == "run" else []
    assert_one_line(run(verb, exporting(changes), *arguments), *parts)
    assert not (tmp_path / "out").exists() and not (tmp_path / "a").exists()


@pytest.mark.parametrize("changes", [
    {"quant": [W4A8], "export.weights": "full_precision"},
    {"rotation": {"type": "hadamard", "online": []}, "rescale": {"type": "none"}},
    {"rope": {"type": "dynamic_ntk", "factor": 2}},
    {"rope": {"type": "longrope", "factor": 2, "long_factor": [1 + i / 8 for i in range(32)]}, "rescale": {"type": "clip_low", "clip_low_n": 4}},
])
def test_what_a_folder_can_hold_passes_check(run, exporting, tmp_path, changes):
    process = run("check", exporting(changes))
    assert process.returncode == 0, process.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "export.yaml"]  # nothing is left of looking whether the folder can be made


@pytest.fixture
def refused_folder(run, exporting):
    """refused_folder(folder, part..., changes): `check` refuses to export there."""

    def check(folder, *parts, changes=None):
        assert_one_line(run("check", exporting({"export": {"folder": str(folder)}} | (changes or {}))), "export.yaml", "export", *parts)

    return check


def test_a_folder_that_holds_something_else_is_refused_by_check(refused_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.md").write_text("mine")
    refused_folder(tmp_path / "out", "'notes.md' in it is of no earlier export")
    assert (tmp_path / "out/notes.md").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused_by_check(refused_folder, tmp_path):
    (tmp_path / "file").write_text("")
    refused_folder(tmp_path / "file", "is a file; name a folder")
    refused_folder(tmp_path / "file/out", "cannot be made", "Not a directory")
    refused_folder("/proc/qroar/out", "cannot be made")


@pytest.mark.parametrize("inside", ["", "export", "a/b"])
def test_the_folder_of_a_model_that_is_read_is_refused_by_check(refused_folder, tmp_path, inside):
    model = copy_of_tiny_books(tmp_path / "model")
    refused_folder(model / inside, "is read by this experiment", changes={"model.path": str(model)})
    (tmp_path / "link").symlink_to(model)
    refused_folder(tmp_path / "link" / inside, "is read by this experiment", changes={"model.path": str(model)})
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "model.safetensors", "tokenizer.model"]


def test_a_folder_above_a_model_and_that_of_another_cells_model_are_refused_by_check(refused_folder, tmp_path):
    model = copy_of_tiny_books(tmp_path / "models/tiny")
    refused_folder(tmp_path / "models", "is read by this experiment", changes={"model.path": str(model)})
    other = copy_of_tiny_books(tmp_path / "other")
    refused_folder(other, "is read by this experiment", changes={"sweep": [{"model.path": [str(model), str(other)]}]})


def test_an_earlier_export_may_be_replaced(run, exporting, tmp_path):
    assert run("run", exporting(), "--results", tmp_path / "a").returncode == 0
    assert run("check", exporting()).returncode == 0
    changed = exporting({"rope": {"type": "linear", "factor": 2}})
    assert run("check", changed).returncode == 0
    assert run("run", changed, "--results", tmp_path / "a").returncode == 0
    assert json.loads((tmp_path / "out/config.json").read_text())["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}


@pytest.mark.parametrize("rope", [
    {"type": "dynamic_ntk", "factor": 2}, {"type": "ntk", "factor": 2}, {"type": "linear", "factor": "auto"},
    {"type": "yarn", "factor": 2, "attention_factor": 1.2}, {"type": "longrope", "factor": 2, "long_factor": [1 + i / 8 for i in range(32)]},
], ids=lambda rope: rope["type"])
@pytest.mark.parametrize("length", [96, 200])
def test_an_exported_scheme_is_the_same_within_and_beyond_the_trained_length(run, experiment, tmp_path, rope, length):
    model = copy_of_tiny_books(tmp_path / "model", max_position_embeddings=128)
    windows = {"length": length, "truncate": True}
    first = experiment(BASE | {"model.path": str(model), "windows": windows, "rope": rope, "export": {"folder": str(tmp_path / "out")}})
    again = experiment(BASE | {"model.path": str(tmp_path / "out"), "windows": windows, "rope": {"type": "model"}, "quant": [],
                               "rescale": {"type": "none"}}, "again.yaml")
    values = []
    for index, file in enumerate((first, again)):
        process = run("run", file, "--results", tmp_path / f"r{index}")
        assert process.returncode == 0, process.stderr
        values += [row["metrics"]["nll"]["value"] for row in read_rows(tmp_path / f"r{index}").values()]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
