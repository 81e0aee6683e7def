"""The block `reference` of an experiment: metrics that compare with another checkpoint."""
import shutil

import pytest

from support.program import TEXT, TINY_BOOKS, assert_one_line, copy_of_tiny_books, read_rows, scale_final_norm

YARN = {"type": "yarn", "factor": 2}
W3 = [{"match": "layers.*", "weight": {"type": "rtn", "bits": 3, "group": 64}}]
KL = {"data": {"path": str(TEXT), "documents": 1}, "windows": {"length": 64}, "sweep": None, "metrics": ["kl_divergence"]}
SAME = {"path": str(TINY_BOOKS)}


@pytest.fixture
def row(run, experiment, tmp_path):
    def run_cell(changes, name="r"):
        process = run("run", experiment(KL | changes), "--results", tmp_path / name)
        assert process.returncode == 0, process.stderr
        (found,) = read_rows(tmp_path / name).values()
        return found

    return run_cell


def test_an_exported_model_is_as_far_from_its_origin_as_the_cell_that_it_came_from(row, tmp_path):
    out = tmp_path / "out"
    quantized = row({"rope": YARN, "quant": W3, "export": {"folder": str(out)}}, "quantized")["metrics"]
    exported = row({"model.path": str(out), "rope": {"type": "model"}, "reference": SAME | {"rope": YARN}}, "exported")["metrics"]
    assert quantized["kl_divergence"]["value"] > 0.01
    for name in ("kl_divergence", "top1_agreement", "delta_p", "delta_p_rms"):
        assert exported[name]["value"] == pytest.approx(quantized[name]["value"], abs=1e-6), name


def test_the_model_in_full_precision_named_as_reference_gives_the_numbers_of_none(row):
    default, named = row({"rope": YARN, "quant": W3}, "default"), row({"rope": YARN, "quant": W3, "reference": SAME}, "named")
    assert named["metrics"] == default["metrics"] and named["id"] != default["id"]
    assert named["config"]["reference"] == SAME | {"dtype": "float32"}  # the model's


def test_a_reference_has_its_own_rope(row):
    """The same weights under the reference's scheme and under another one."""
    same, other = (row({"rope": rope, "reference": SAME | {"rope": YARN}}, rope["type"])["metrics"] for rope in (YARN, {"type": "none"}))
    assert same["kl_divergence"]["value"] == 0 and other["kl_divergence"]["value"] > 1e-4


def test_key_tokens_are_those_of_the_reference(row, tmp_path):
    other = copy_of_tiny_books(tmp_path / "other")
    scale_final_norm(other, 1.5)  # more certain, so a context changes more of its losses by much
    long_ppl = {"windows": {"length": 128}, "metrics": ["perplexity", {"type": "long_ppl", "short": 16, "step": 16, "alpha": 0.3, "beta": -1}]}
    own, its = row(long_ppl, "own")["metrics"], row(long_ppl | {"reference": {"path": str(other)}}, "its")["metrics"]
    assert its["long_ppl"]["count"] > own["long_ppl"]["count"]
    assert its["nll"] == own["nll"]


def test_a_changed_reference_runs_its_cells_again(run, experiment, tmp_path):
    other = copy_of_tiny_books(tmp_path / "other")
    file = experiment(KL | {"reference": {"path": str(other)}})
    values = []
    for log in ("cell", "changed since its row was written"):
        process = run("run", file, "--results", tmp_path / "r")
        assert process.returncode == 0 and log in process.stderr
        values += [row["metrics"]["kl_divergence"]["value"] for row in read_rows(tmp_path / "r").values()]
        scale_final_norm(other, 0.9)
    assert values[0] == 0 and values[1] > 0.001


def other_vocabulary(folder):
    return copy_of_tiny_books(folder, vocab_size=4097)


def other_tokenizer(folder):
    copy_of_tiny_books(folder)
    with open(folder / "tokenizer.model", "ab") as file:
        file.write(b"\0")
    return folder


def no_tokenizer(folder):
    copy_of_tiny_books(folder)
    (folder / "tokenizer.model").unlink()
    return folder


def scaled_in_config(folder):
    return copy_of_tiny_books(folder, rope_scaling={"rope_type": "linear", "factor": 2.0})


@pytest.mark.parametrize(("make", "changes", "parts"), [
    (other_vocabulary, {}, ["reference.path", "a vocabulary of 4097 tokens, and the model's has 4096"]),
    (other_tokenizer, {}, ["reference.path", "its tokenizer file is not the model's"]),
    (no_tokenizer, {}, ["tokenizer.model"]),
    (copy_of_tiny_books, {"metrics": ["perplexity"]}, ["reference", "no metric compares with it; list kl_divergence or long_ppl"]),
    (copy_of_tiny_books, {"reference.dtpye": "float32"}, ["reference.dtpye", "did you mean 'dtype'"]),
    (copy_of_tiny_books, {"reference.rope": {"type": "longrope", "factor": 2, "short_factor": [1], "long_factor": [1]}},
     ["reference.rope", "for the reference", "1 short factors, but head_dim 64 needs 32"]),
    (scaled_in_config, {"rope": {"type": "model"}}, ["reference", "says another one than the model's; give rope"]),
    (lambda folder: folder / "gone", {}, ["reference.path", "no such folder"]),
])
def test_a_reference_that_cannot_be_compared_with_is_one_line(run, experiment, tmp_path, make, changes, parts):
    folder = make(tmp_path / "other")
    file = experiment(KL | {"reference": {"path": str(folder)}} | changes)
    assert_one_line(run("check", file), *parts)
    assert_one_line(run("run", file, "--results", tmp_path / "r"), *parts)
    assert not (tmp_path / "r").exists()
    shutil.rmtree(folder, ignore_errors=True)
