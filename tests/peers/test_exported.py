"""Exported folders in transformers: the same frequencies, and the same mean NLL over a real manual within 1e-6 of it, in float32, at a
length beyond the trained one and at one within; and their config.json in vLLM's formulas."""
import json
import subprocess

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from conftest import BUILD, existing, model_folder, sample_tokens
from vllm_rope import RELEASES, vllm_table

NLL_TOLERANCE = 1e-6  # relative, of the mean
TOKENS, WITHIN = 1024, 100  # tiny-books is trained for 512
PAIRS = 32  # of a head of tiny-books
W4 = {"match": "layers.*", "weight": {"type": "rtn", "bits": 4, "group": 64}}
W4_HEAD = {"match": "lm_head", "weight": {"type": "rtn", "bits": 4, "group": 64}}  # unties
YARN = {"type": "yarn", "factor": 4}
LONG = [1 + 0.1 * i for i in range(PAIRS)]
SHORT = [1 + 0.01 * i for i in range(PAIRS)]

# By id: the scheme, and the rope_type that says it.
SCHEMES = {
    "none": ({"type": "none"}, None),
    "linear": ({"type": "linear", "factor": 4}, "linear"),
    "linear-auto": ({"type": "linear", "factor": "auto"}, "linear"),
    "dynamic_ntk": ({"type": "dynamic_ntk", "factor": 2}, "dynamic"),
    "yarn": (YARN, "yarn"),
    "yarn-auto": ({"type": "yarn", "factor": "auto"}, "yarn"),
    "yarn-betas": ({"type": "yarn", "factor": 4, "beta_fast": 16, "beta_slow": 2}, "yarn"),
    "yarn-untruncated": ({"type": "yarn", "factor": 4, "truncate": False}, "yarn"),
    "yarn-attention": ({"type": "yarn", "factor": 4, "attention_factor": 1.05}, "yarn"),
    "yarn-mscale": ({"type": "yarn", "factor": 4, "mscale": 0.7, "mscale_all_dim": 0.5}, "yarn"),
    "yarn-rotations": ({"type": "yarn", "factor": 4, "ramp": "rotations"}, "longrope"),
    "ntk": ({"type": "ntk", "factor": 4}, "longrope"),
    "ntk_by_parts": ({"type": "ntk_by_parts", "factor": 4}, "yarn"),
    "llama3": ({"type": "llama3", "factor": 4, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 512}, "llama3"),
    "llama3-own-length": ({"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 256}, "llama3"),
    "longrope": ({"type": "longrope", "factor": 2, "short_factor": SHORT, "long_factor": LONG}, "longrope"),
    "longrope-attention": ({"type": "longrope", "factor": 2, "short_factor": SHORT, "long_factor": LONG, "attention_factor": 1.1}, "longrope"),
    "longrope-one-list": ({"type": "longrope", "factor": 2, "long_factor": LONG}, "longrope"),
}


@pytest.fixture
def exported(tmp_path):
    """exported(model, dtype, rope, quant, source folder, ...) -> the folder, and what export_model.cpp printed for TOKENS and for WITHIN."""
    program = existing(BUILD / "tests/export_model", "scripts/build makes it (QROAR_BUILD names another build folder)")

    def run(name, dtype="float32", rope=YARN, quant=(), source=None, **setup):
        setup |= {"model": {"path": str(source or model_folder(name)), "dtype": dtype}, "rope": rope, "quant": list(quant), "lengths": [TOKENS, WITHIN]}
        tokens = sample_tokens(name, TOKENS)
        assert len(tokens) == TOKENS
        save_file({"tokens": torch.tensor(tokens)}, tmp_path / "tokens.safetensors")
        command = [program, yaml.safe_dump(setup), tmp_path / "tokens.safetensors", tmp_path / "out"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tmp_path / "out", dict(zip((TOKENS, WITHIN), json.loads(done.stdout)))

    return run


def config_of(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


def load(folder):
    """The model in float32, with every weight found and none left over."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    assert not any(info.values()), info
    return model


def transformers_nll(model, name, length):
    tokens = torch.tensor([sample_tokens(name, length)])
    with torch.inference_mode():
        logits = model(tokens).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, tokens[0, 1:]).item()


def assert_same(model, name, report):
    """First beyond the trained length, then within: transformers goes back to what it had."""
    for length in (TOKENS, WITHIN):
        nll = transformers_nll(model, name, length)
        rotary, expected = model.model.rotary_emb, torch.tensor(report[length]["inv_freq"], dtype=torch.float64)
        # transformers takes powers, products and blends in float32, whose roundings are 2^-24 each.
        assert torch.allclose(rotary.inv_freq.double(), expected, rtol=2.0**-20, atol=1e-29), length
        assert rotary.attention_scaling == pytest.approx(report[length]["attention_factor"], rel=1e-15)
        assert nll == pytest.approx(report[length]["nll"], rel=NLL_TOLERANCE), length


@pytest.mark.parametrize("tied", [True, False])
def test_scaled_rows_and_quantized_weights_under_yarn_compute_the_same(exported, tied):
    folder, report = exported("tiny-books", quant=[W4] if tied else [W4, W4_HEAD], spread=0.2)
    model = load(folder)
    assert model.config.tie_word_embeddings == tied
    assert ("lm_head.weight" in load_file(folder / "model.safetensors")) != tied
    assert_same(model, "tiny-books", report)
    plain = transformers_nll(load(model_folder("tiny-books")), "tiny-books", TOKENS)
    assert abs(plain - report[TOKENS]["nll"]) > 1e-2  # the changes took effect at all


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_said_in_its_type_and_computes_the_same(exported, scheme):
    rope, rope_type = SCHEMES[scheme]
    folder, report = exported("tiny-books", rope=rope)
    assert config_of(folder).get("rope_scaling", {}).get("rope_type") == rope_type
    model = load(folder)
    assert model.config.max_position_embeddings == (512 if rope_type == "dynamic" else TOKENS)
    assert_same(model, "tiny-books", report)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_the_same_by_the_formulas_of_vllm(exported, scheme, release):
    rope, rope_type = SCHEMES[scheme]
    folder, report = exported("tiny-books", rope=rope)
    config = config_of(folder)
    lengths = [TOKENS, WITHIN]
    if rope_type == "dynamic":  # factor * max_position_embeddings is the one length that vLLM has a table for
        assert config["rope_scaling"]["factor"] * config["max_position_embeddings"] == TOKENS
        lengths = [TOKENS]
    for length in lengths:
        found, attention = vllm_table(config, length, release)
        assert torch.allclose(found, torch.tensor(report[length]["inv_freq"], dtype=torch.float64), rtol=1e-14), length
        assert attention == pytest.approx(report[length]["attention_factor"], rel=1e-14)


def test_pairs_that_do_not_turn_compute_the_same(exported):
    folder, report = exported("tiny-books", rope={"type": "linear", "factor": 2}, still_pairs=8)
    assert report[TOKENS]["inv_freq"][-8:] == [0] * 8
    assert config_of(folder)["rope_scaling"]["rope_type"] == "longrope"
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


# What checkpoints state themselves, and the type that comes out.
STATED = {
    "linear": ({"rope_scaling": {"type": "linear", "factor": 2}}, "linear"),
    "dynamic": ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "dynamic"),
    "yarn": ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "finetuned": True}}, "yarn"),
    "yarn-v5": ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 20000.0, "factor": None, "original_max_position_embeddings": 128, "truncate": False}},
                "yarn"),
    "llama3": ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 256},
                "rope_theta": 500000.0}, "llama3"),
    "longrope": ({"rope_scaling": {"rope_type": "longrope", "short_factor": SHORT, "long_factor": LONG}, "original_max_position_embeddings": 128}, "longrope"),
}


@pytest.mark.parametrize("stated", STATED)
def test_what_a_checkpoint_states_itself_comes_out_again(exported, tmp_path, stated):
    fields, rope_type = STATED[stated]
    folder = tmp_path / "stated"
    folder.mkdir()
    source = model_folder("tiny-books")
    for name in ("model.safetensors", "tokenizer.model"):
        (folder / name).symlink_to(source / name)
    (folder / "config.json").write_text(json.dumps(config_of(source) | fields), encoding="utf-8")
    out, report = exported("tiny-books", rope={"type": "model"}, source=folder)
    config = config_of(out)
    assert config["rope_scaling"]["rope_type"] == rope_type and "rope_parameters" not in config
    assert_same(load(out), "tiny-books", report)
    assert_same(load(folder), "tiny-books", report)
