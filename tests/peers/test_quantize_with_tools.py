"""Checkpoints that bitsandbytes and torchao quantize and save, imported by the script that experiments/imported_kl_tiny.yaml names."""
import json

from support.program import TINY_BOOKS, read_rows


def test_every_tool_s_checkpoint_is_imported_once(run_script, experiment, run, tmp_path):
    made = run_script("quantize_with_tools", TINY_BOOKS, tmp_path / "made")
    assert made.returncode == 0, made.stderr
    labels = {path.name: json.loads((path / "imported.json").read_text(encoding="utf-8"))["label"] for path in (tmp_path / "made").iterdir()}
    assert labels == {"bnb_nf4": "bnb NF4 b64 dq", "bnb_int8": "bnb LLM.int8", "ao_int4": "torchao W4 g64", "ao_int8": "torchao W8 channel"}
    file = experiment({"model.path": str(tmp_path / "made/bnb_nf4"), "reference": {"path": str(TINY_BOOKS), "dtype": "float32"},
                       "metrics": ["kl_divergence"], "sweep": None})
    process = run("run", file, "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    row, = read_rows(tmp_path / "results").values()
    assert 0.001 < row["metrics"]["kl_divergence"]["value"] < 0.5
    again = run_script("quantize_with_tools", TINY_BOOKS, tmp_path / "made")
    assert (again.returncode, again.stdout) == (0, "")


def test_what_is_no_checkpoint_is_one_line(run_script, tmp_path):
    process = run_script("quantize_with_tools", tmp_path, tmp_path / "made")
    assert (process.returncode, process.stderr) == (1, f"quantize_with_tools: {tmp_path} has no config.json; give a Hugging Face folder\n")
    assert not (tmp_path / "made").exists()
