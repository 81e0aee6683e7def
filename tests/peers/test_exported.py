"""Exported folders in transformers: the same frequencies, and the same mean NLL over 1024 tokens of a real manual within 1e-5, in float32."""
import json
import subprocess

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from conftest import BUILD, existing, model_folder, sample_tokens

NLL_TOLERANCE = 1e-5  # nats per token
TOKENS = 1024
W4 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}
W4_HEAD = {"match": "lm_head", "weight": {"type": "rtn", "bits": 4, "group": 64}}  # unties
LLAMA3 = {"type": "llama3", "factor": 4, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 512}
YARN = {"type": "yarn", "factor": 4}


@pytest.fixture
def exported(tmp_path):
    """exported(model, dtype, rope, quant, ...) -> the folder and what export_model.cpp printed."""
    program = existing(BUILD / "tests/export_model", "scripts/build makes it (QROAR_BUILD names another build folder)")

    def run(name, dtype="float32", rope=YARN, quant=(), **setup):
        setup |= {"model": {"path": str(model_folder(name)), "dtype": dtype}, "rope": rope, "quant": list(quant)}
        tokens = sample_tokens(name, TOKENS)
        assert len(tokens) == TOKENS
        save_file({"tokens": torch.tensor(tokens)}, tmp_path / "tokens.safetensors")
        command = [program, yaml.safe_dump(setup), tmp_path / "tokens.safetensors", tmp_path / "out"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tmp_path / "out", json.loads(done.stdout)

    return run


def load(folder):
    """The model in float32, with every weight found and none left over."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    return model


def transformers_nll(model, name):
    tokens = torch.tensor([sample_tokens(name, TOKENS)])
    with torch.inference_mode():
        logits = model(tokens).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, tokens[0, 1:]).item()


def assert_same(model, name, report):
    rotary = model.model.rotary_emb
    # transformers takes a power, a product and a quotient in float32, whose roundings are 2^-24 each.
    expected = torch.tensor(report["inv_freq"], dtype=torch.float64)
    assert torch.allclose(rotary.inv_freq.double(), expected, rtol=2.0**-22, atol=1e-29)
    assert rotary.attention_scaling == pytest.approx(report["attention_factor"], rel=1e-15)
    assert transformers_nll(model, name) == pytest.approx(report["nll"], abs=NLL_TOLERANCE)


@pytest.mark.parametrize("tied", [True, False])
def test_scaled_rows_and_quantized_weights_under_yarn_compute_the_same(exported, tied):
    folder, report = exported("tiny-books", quant=[W4] if tied else [W4, W4_HEAD], spread=0.2)
    model = load(folder)
    assert model.config.tie_word_embeddings == tied
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) != tied
    assert_same(model, "tiny-books", report)
    plain = transformers_nll(load(model_folder("tiny-books")), "tiny-books")
    assert abs(plain - report["nll"]) > 1e-2  # the changes took effect at all


@pytest.mark.parametrize("rope", [{"type": "none"}, {"type": "linear", "factor": 4}, {"type": "ntk", "factor": 4}, YARN, LLAMA3],
                         ids=lambda rope: rope["type"])
def test_every_static_table_computes_the_same(exported, rope):
    folder, report = exported("tiny-books", rope=rope)
    model = load(folder)
    assert model.config.max_position_embeddings == TOKENS
    assert_same(model, "tiny-books", report)


def test_pairs_that_do_not_turn_compute_the_same(exported):
    folder, report = exported("tiny-books", rope={"type": "linear", "factor": 2}, still_pairs=8)
    assert report["inv_freq"][-8:] == [0] * 8
    assert_same(load(folder), "tiny-books", report)


@pytest.mark.parametrize(("tied", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_grouped_queries_compute_the_same(exported, tied, dtype):
    folder, report = exported("smollm2-135m", dtype=dtype, rope={"type": "yarn", "factor": 2}, spread=0.1, quant=[W4] if tied else [W4, W4_HEAD])
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {getattr(torch, dtype)}
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == getattr(torch, dtype)
    model = load(folder)
    assert model.config.tie_word_embeddings == tied
    assert_same(model, "smollm2-135m", report)
    text = "In 2048 tokens."
    assert AutoTokenizer.from_pretrained(folder)(text).input_ids == AutoTokenizer.from_pretrained(model_folder("smollm2-135m"))(text).input_ids
