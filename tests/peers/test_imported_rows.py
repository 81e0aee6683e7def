"""A quantized checkpoint from its file to the tables: refused with the remedy, imported, evaluated, and named by what its weights went through."""
import csv
import io
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from checkpoints import save_tokenizer

KIND = "gptq"


@pytest.fixture
def imported(small_made, run_script, tmp_path):
    """(the quantized folder, the plain one)"""
    folder = small_made(KIND)
    save_tokenizer(folder)
    process = run_script("import_checkpoint", folder, tmp_path / "plain")
    assert process.returncode == 0, process.stderr
    return folder, tmp_path / "plain"


def test_a_quantized_checkpoint_is_refused_with_the_command_that_imports_it(evaluate, imported):
    process = evaluate("check", imported[0]).process
    assert process.returncode == 1
    assert "scripts/import_checkpoint FOLDER OUT" in process.stderr


def test_rows_and_tables_say_what_the_weights_of_an_imported_checkpoint_are(evaluate, imported, run):
    said = json.loads((imported[1] / "imported.json").read_text(encoding="utf-8"))
    evaluated = evaluate("run", imported[1], {"sweep": [{"quant": [[], [{"match": "layers.*.q_proj", "weight": {"type": "rtn", "bits": 8, "group": 0}}]]}]})
    assert evaluated.nll()
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in evaluated.results.glob("cells/*/row.json")]
    assert len(rows) == 2 and all(row["environment"]["imported"] == said for row in rows)
    plain = next(row for row in rows if row["axes"]["quant"] == [])
    assert plain["bits_per_weight"] == pytest.approx(said["bits_per_weight"])
    table = run("show", evaluated.results).stdout
    assert f"{said['label']} + rtn W8" in table and "none" not in table.split("---")[0]
    assert said["label"] in run("show", evaluated.results, "--format", "csv").stdout
    latex = run("show", evaluated.results, "--format", "latex").stdout
    assert said["label"] in latex


def test_models_of_a_sweep_are_named_by_what_each_went_through(evaluate, imported, small_plain, run, run_script, tmp_path):
    original = shutil.copytree(small_plain, tmp_path / "original")
    save_tokenizer(original)
    evaluated = evaluate("run", imported[1], {"sweep": [{"model.path": [str(imported[1]), str(original)]}]})
    assert evaluated.process.returncode == 0, evaluated.process.stderr
    said = json.loads((imported[1] / "imported.json").read_text(encoding="utf-8"))["label"]
    shown = json.loads(run("show", evaluated.results, "--format", "json").stdout)
    assert {row["axes"]["model.path"]: row["labels"]["quant"] for row in shown} == {str(imported[1]): said, str(original): "none"}
    reported = run_script("report.py", evaluated.results, "--out", tmp_path / "report")
    assert reported.returncode == 0, reported.stderr
    table = [line.split(" | ") for line in (tmp_path / "report/report.md").read_text(encoding="utf-8").splitlines() if " | path=" in line]
    assert {(said in row[0], "original" in row[1]) for row in table} == {(True, False), (False, True)}
    lines = run("show", evaluated.results).stdout.splitlines()
    assert "quant" in next(line for line in lines if "model.path" in line) and any(said in line for line in lines)


def test_rows_of_an_imported_checkpoint_that_is_not_quantized_are_those_of_a_plain_one(evaluate, small_plain, run_script, run, tmp_path):
    folder = shutil.copytree(small_plain, tmp_path / "pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    process = run_script("import_checkpoint", folder, tmp_path / "plain")
    assert process.returncode == 0, process.stderr
    sweep = {"sweep": [{"quant": [[], [{"match": "layers.*", "weight": {"type": "rtn", "bits": 8, "group": 0}}]]}]}
    found = []
    for model in (tmp_path / "plain", small_plain):
        evaluated = evaluate("run", model, sweep)
        assert evaluated.process.returncode == 0, evaluated.process.stderr
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in evaluated.results.glob("cells/*/row.json")]
        found.append([(row["axes"], row["bits_per_weight"], row["metrics"]["nll"]["value"]) for row in sorted(rows, key=lambda row: -row["bits_per_weight"])])
        said = [row["environment"].get("imported", {}).get("source") for row in rows]
        assert said == ["pickled" if model.name == "plain" else None] * 2
        table = csv.DictReader(io.StringIO(run("show", evaluated.results, "--format", "csv").stdout))
        assert sorted({line["quant"] for line in table}) == ["none", "rtn W8 per row"]
    assert found[0] == found[1] and found[0][0][:2] == ({"quant": []}, 16)


@pytest.mark.parametrize("text, said", [("{", "imported.json:1"), ('{"label": 3, "bits_per_weight": 4}', "'label'"), ('{"label": "x"}', "bits_per_weight"),
                                        ('{"label": "x", "bits_per_weight": -1}', "bits_per_weight")])
def test_a_damaged_record_is_one_line(evaluate, imported, text, said):
    (imported[1] / "imported.json").write_text(text, encoding="utf-8")
    process = evaluate("check", imported[1]).process
    assert process.returncode == 1
    assert [line for line in process.stderr.splitlines() if "imported.json" in line and said in line], process.stderr
