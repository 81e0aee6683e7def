"""The model that is evaluated is the one in the folder: RoPE, tensors, dtype and BOS as its files say, or one line that says what is wrong."""
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.program import assert_one_line, copy_of_tiny_books, read_rows

ONE_CELL = {"sweep": None, "windows.length": 640}
LINEAR = {"type": "linear", "factor": 2.0}
BIAS = "model.layers.1.self_attn.q_proj.bias"


def edit_tensors(model, edit):
    tensors = load_file(model / "model.safetensors")
    edit(tensors)
    save_file(tensors, model / "model.safetensors")


@pytest.fixture
def row_of(run, experiment, tmp_path):
    """row_of(changes) -> (the one row, the log)."""
    count = iter(range(100))

    def row(changes):
        results = tmp_path / f"results{next(count)}"
        process = run("run", experiment(ONE_CELL | changes), "--results", results)
        assert process.returncode == 0, process.stderr
        (row,) = read_rows(results).values()
        return row, process.stderr

    return row


def nll(row):
    return row["metrics"]["nll"]["value"]


# ---- RoPE

def test_without_a_rope_block_the_models_own_rope_is_evaluated(row_of, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model", rope_scaling=LINEAR)
    own, _ = row_of({"model.path": str(model)})
    named, _ = row_of({"model.path": str(model), "rope": LINEAR | {"factor": 2}})
    plain, _ = row_of({"model.path": str(model), "rope": {"type": "none"}})
    assert nll(own) == nll(named) != nll(plain)
    assert own["config"]["rope"] == {"type": "model"}
    assert own["environment"]["rope"] == {"type": "linear", "factor": 2.0}


def test_a_model_that_says_nothing_has_plain_rope(row_of):
    own, _ = row_of({})
    plain, _ = row_of({"rope": {"type": "none"}})
    assert nll(own) == nll(plain)
    assert own["environment"]["rope"] == {"type": "none"}


def test_what_config_json_says_and_is_not_known_is_in_log_and_row(row_of, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model", novel_gate=3, rope_scaling=LINEAR | {"finetuned": True})
    row, log = row_of({"model.path": str(model)})
    assert len(row["warnings"]) == 2
    for text in ("'finetuned' is not used", "novel_gate"):
        assert log.count(text) == 1 and any(text in warning for warning in row["warnings"])


# ---- tensors

def lora(tensors):
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 256)


@pytest.mark.parametrize(("edit", "config", "parts"), [
    (lambda tensors: tensors.update({BIAS: torch.zeros(256)}), {}, ["1 tensor in it is", BIAS]),
    (lambda tensors: None, {"num_hidden_layers": 3}, ["18 tensors in it are", "model.layers.3."]),
    (lora, {}, ["lora_A.weight"]),
    (lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.weight_scale": torch.ones(1)}), {}, ["weight_scale"]),
    (lambda tensors: tensors.update({"model.layers.0.self_attn.k_norm.weight": torch.ones(64)}), {}, ["k_norm"]),
], ids=["bias", "layers", "lora", "weight_scale", "k_norm"])
def test_tensors_that_nothing_reads_are_counted_and_named(refused, run, experiment, tmp_path, edit, config, parts):
    model = copy_of_tiny_books(tmp_path / "model", **config)
    edit_tensors(model, edit)
    file = experiment({"model.path": str(model)})
    refused(file, f"{model}: ", *parts, "model.ignore_tensors")
    assert_one_line(run("check", file), f"{model}: ", *parts)


def test_tensors_that_the_user_knows_of_are_ignored_and_stand_in_the_row(row_of, refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    edit_tensors(model, lambda tensors: tensors.update({BIAS: torch.zeros(256)}))
    row, _ = row_of({"model.path": str(model), "model.ignore_tensors": ["*.q_proj.bias"]})
    assert row["config"]["model"]["ignore_tensors"] == ["*.q_proj.bias"]
    refused(experiment({"model.path": str(model), "model.ignore_tensors": ["*.q_proj.bias", "*.v_proj.bias"]}), "'*.v_proj.bias'")


def test_leftovers_that_cannot_matter_pass(row_of, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    edit_tensors(model, lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(32),
                                                        "model.causal_mask": torch.ones(8, 8, dtype=torch.bool)}))
    assert nll(row_of({"model.path": str(model)})[0]) == nll(row_of({})[0])


def test_a_head_of_its_own_beside_tied_embeddings_is_used(row_of, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    edit_tensors(model, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    same, log = row_of({"model.path": str(model)})
    assert nll(same) == nll(row_of({})[0]) and "lm_head.weight" not in log
    edit_tensors(model, lambda tensors: tensors["lm_head.weight"].mul_(1.5))
    other, log = row_of({"model.path": str(model)})
    assert "lm_head.weight in the checkpoint is another matrix, which is used" in log
    untied = copy_of_tiny_books(tmp_path / "untied", tie_word_embeddings=False)
    save_file(load_file(model / "model.safetensors"), untied / "model.safetensors")
    assert nll(other) == nll(row_of({"model.path": str(untied)})[0]) != nll(same)


def test_a_checkpoint_without_the_prefix_model_is_the_same_model(row_of, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    tensors = load_file(model / "model.safetensors")
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, model / "model.safetensors")
    assert nll(row_of({"model.path": str(model)})[0]) == nll(row_of({})[0])


def test_a_missing_head_is_named(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model", tie_word_embeddings=False)
    refused(experiment({"model.path": str(model)}), "no tensor lm_head.weight", "tie_word_embeddings")


def test_an_adapter_in_the_folder_is_refused(refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    (model / "adapter_config.json").write_text("{}", encoding="utf-8")
    refused(experiment({"model.path": str(model)}), f"{model}: holds an adapter", "merge it")


# ---- dtype, BOS, sliding window, vocabulary

@pytest.mark.parametrize(("config", "stored", "dtype"), [
    ({}, torch.bfloat16, "bfloat16"),
    ({"torch_dtype": "float32"}, torch.bfloat16, "float32"),
    ({"torch_dtype": None, "dtype": "float64"}, torch.bfloat16, "float64"),
    ({"torch_dtype": None}, torch.float32, "float32"),
    ({"torch_dtype": "torch.float16"}, torch.float16, "float32"),  # this CPU may have no arithmetic of float16
])
def test_the_dtype_is_the_checkpoints_own(row_of, tmp_path, config, stored, dtype):
    model = copy_of_tiny_books(tmp_path / "model", **config)
    edit_tensors(model, lambda tensors: tensors.update({name: tensor.to(stored) for name, tensor in tensors.items()}))
    own, log = row_of({"model.path": str(model), "model.dtype": None})
    assert f"dtype auto is {own['environment']['dtype']}" in log
    assert own["config"]["model"]["dtype"] == "auto"
    assert own["environment"]["dtype"] in (dtype, "float16" if stored == torch.float16 else dtype)
    named, _ = row_of({"model.path": str(model), "model.dtype": own["environment"]["dtype"]})
    assert nll(own) == nll(named)


def test_a_model_without_bos_is_not_given_one(row_of, refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8")) | {"bos_token_id": None}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for changes in ({}, {"windows.bos": True}, {"windows.bos": "start", "windows.targets": "beyond"}):
        refused(experiment(changes | {"model.path": str(model)}), "windows", "bos_token_id: null; say windows.bos: false")
    row_of({"model.path": str(model), "windows.bos": False})


def test_windows_beyond_a_sliding_window_are_refused(row_of, refused, experiment, tmp_path):
    model = copy_of_tiny_books(tmp_path / "model", sliding_window=640)
    row_of({"model.path": str(model)})
    refused(experiment(ONE_CELL | {"model.path": str(model), "windows.length": 641}), "windows.length", "sliding_window: 640")
