"""A quantized checkpoint from its file to the tables: refused with the remedy, imported, evaluated, and named by what its weights went through."""
import json

import pytest

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


@pytest.mark.parametrize("text, said", [("{", "imported.json:1"), ('{"label": 3, "bits_per_weight": 4}', "'label'"), ('{"label": "x"}', "bits_per_weight"),
                                        ('{"label": "x", "bits_per_weight": -1}', "bits_per_weight")])
def test_a_damaged_record_is_one_line(evaluate, imported, text, said):
    (imported[1] / "imported.json").write_text(text, encoding="utf-8")
    process = evaluate("check", imported[1]).process
    assert process.returncode == 1
    assert [line for line in process.stderr.splitlines() if "imported.json" in line and said in line], process.stderr
