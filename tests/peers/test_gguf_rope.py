"""RoPE scaling and dtypes of GGUF files through scripts/import_gguf.py, against transformers' frequencies."""
import json
import math

import gguf
import numpy as np
import pytest
import torch
import transformers
import xxhash
from safetensors.torch import load_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from gguf_models import HEAD, import_gguf, imported, write
from support.program import read_rows, write_token_file

from json_lines import BadInput  # gguf_models has put scripts/ on the path

PAIRS = HEAD // 2
BASE = 500000.0 ** (-np.arange(PAIRS) / PAIRS)
YARN, YARN_FACTOR = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, 0.1 * math.log(4) + 1


def inverse_frequencies(config, length=None):
    """What transformers makes of config.json: frequencies and the factor of cos and sin."""
    config = transformers.LlamaConfig(**config)
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        return BASE, 1.0
    found, attention = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    return found.double().numpy(), attention


def llama3_factors(factor=8.0, low=1.0, high=4.0, trained=8192):
    """As convert_hf_to_gguf.py computes them: from wave lengths."""
    found = []
    for frequency in BASE:
        wave = 2 * math.pi / frequency
        smooth = (trained / wave - low) / (high - low)
        found.append(1 if wave < trained / high else factor if wave > trained / low else 1 / ((1 - smooth) / factor + smooth))
    return np.asarray(found, np.float32)


def scaling(kind, factor=None, trained=None, **more):
    def change(writer):
        writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
        if factor:
            writer.add_rope_scaling_factor(factor)
        if trained:
            writer.add_rope_scaling_orig_ctx_len(trained)
        for key, value in more.items():
            writer.add_float32(f"llama.rope.scaling.{key}", value)

    return change


def test_llama_3s_divisors_become_its_scheme(tmp_path):
    for number, factor in enumerate((8.0, 32.0)):
        (tmp_path / str(number)).mkdir()
        factors = llama3_factors(factor)
        out, _ = imported(tmp_path / str(number), tensors={"rope_freqs.weight": factors})
        config = json.loads((out / "config.json").read_text(encoding="utf-8"))
        assert config["rope_scaling"] == {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                          "original_max_position_embeddings": 8192}
        found, attention = inverse_frequencies(config)
        np.testing.assert_allclose(found, BASE / factors, rtol=1e-6)
        assert attention == 1 and "rope_freqs" not in " ".join(load_file(out / "model.safetensors"))


def test_any_other_divisors_stay_what_they_are(tmp_path):
    factors = np.linspace(1, 3, PAIRS).astype(np.float32) + np.float32(0.1)
    out, _ = imported(tmp_path, tensors={"rope_freqs.weight": factors})
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    for length in (16, 100000):
        found, attention = inverse_frequencies(config, length)
        np.testing.assert_allclose(found, BASE / factors, rtol=1e-6)
        assert attention == 1


@pytest.mark.parametrize(("change", "tensors", "expected", "frequencies", "attention"), [
    (scaling("none"), {}, None, BASE, 1),
    (scaling("none", 4.0), {}, None, BASE, 1),
    (scaling("linear", 4.0), {}, {"rope_type": "linear", "factor": 4.0}, BASE / 4, 1),
    (scaling("linear", 4.0, 1024), {}, {"rope_type": "linear", "factor": 4.0, "original_max_position_embeddings": 1024}, BASE / 4, 1),
    (lambda writer: writer.add_float32("llama.rope.scale_linear", 2.5), {}, {"rope_type": "linear", "factor": 2.5}, BASE / 2.5, 1),
    (scaling("yarn", 4.0, 1024), {}, YARN, None, YARN_FACTOR),
    (scaling("yarn", 4.0, 1024, attn_factor=0.5, yarn_beta_fast=16.0), {}, YARN | {"beta_fast": 16.0, "attention_factor": YARN_FACTOR / 2}, None, YARN_FACTOR / 2),
    (scaling("longrope", None, 1024, attn_factor=1.25), {"rope_factors_long.weight": [2.5] * PAIRS, "rope_factors_short.weight": [1.5] * PAIRS},
     {"rope_type": "longrope", "short_factor": [1.5] * PAIRS, "long_factor": [2.5] * PAIRS, "attention_factor": 1.25, "original_max_position_embeddings": 1024},
     BASE / 2.5, 1.25),
])
def test_schemes_of_the_metadata_are_those_of_config_json(tmp_path, change, tensors, expected, frequencies, attention):
    out, _ = imported(tmp_path, change=change, tensors=tensors)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config.get("rope_scaling") == expected
    found, factor = inverse_frequencies(config, 4096)
    assert factor == pytest.approx(attention, rel=1e-6)
    if frequencies is not None:
        np.testing.assert_allclose(found, frequencies, rtol=1e-6)


@pytest.mark.parametrize(("change", "tensors", "said"), [
    (scaling("yarn"), {}, "metadata key 'llama.rope.scaling.factor' is missing"), (scaling("linear", -2.0), {}, "is -2.0, not a number above 0"),
    (scaling("linear", 2.0, mscale=1.0), {}, "metadata key 'llama.rope.scaling.mscale' is 1.0, which is not supported"),
    (scaling("linear", 2.0, attn_factor=0.5), {}, "metadata key 'llama.rope.scaling.attn_factor' is 0.5, which is not supported"),
    (scaling("none", attn_factor=0.5), {"rope_freqs.weight": [1.5] * PAIRS}, "metadata key 'llama.rope.scaling.attn_factor' is 0.5, which is not"),
    (scaling("longrope", 2.0), {"rope_factors_long.weight": [2] * PAIRS, "rope_factors_short.weight": [1] * PAIRS},
     "metadata key 'llama.rope.scaling.factor' is 2.0, which is not supported"),
    (scaling("none"), {"rope_factors_long.weight": [2] * PAIRS}, "'rope_factors_long.weight' and RoPE scaling of type 'none' are in one file"),
    (scaling("longrope"), {"rope_freqs.weight": [1] * PAIRS}, "'rope_freqs.weight' and RoPE scaling of type 'longrope' are in one file"),
    (lambda writer: writer.add_string("llama.rope.scaling.type", "su"), {}, "is 'su', not none, linear, yarn or longrope"),
    (scaling("longrope"), {}, "tensor 'rope_factors_short.weight' is missing"),
    (scaling("yarn", 2.0), {"rope_freqs.weight": [1] * PAIRS}, "are in one file, which no model has"),
    (scaling("none"), {"rope_freqs.weight": [1] * 3}, "has shape (3,), expected (8,)"),
    (scaling("none"), {"rope_freqs.weight": [0] * PAIRS}, "holds what is no number above 0"),
    (scaling("none"), {"rope_freqs.weight": [math.nan] * PAIRS}, "holds what is no number above 0"),
    (scaling("none"), {"rope_other.weight": [1]}, "is not part of a Llama model"),
])
def test_scaling_that_lies_is_one_line(tmp_path, change, tensors, said):
    with pytest.raises(BadInput) as caught:
        imported(tmp_path, change=change, tensors=tensors)
    assert said in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("options", [{}, {"tensors": {"rope_freqs.weight": llama3_factors()}}, {"tensors": {"rope_freqs.weight": np.linspace(1, 3, PAIRS)}},
                                     {"change": scaling("yarn", 4.0, 128)}], ids=["none", "llama3", "divisors", "yarn"])
def test_the_program_predicts_what_transformers_does(run, experiment, tmp_path, options):
    tokens, types = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))], [2, 3, 3, *[6] * 256]
    out, _ = imported(tmp_path, "float32", tokens=tokens, types=types, model="llama", pre="default", scores=[0.0] * len(tokens), **options)
    rows = torch.randint(3, len(tokens), (4, 511), generator=torch.Generator().manual_seed(0))
    write_token_file(tmp_path / "random.tok", xxhash.xxh3_128_hexdigest((out / "tokenizer.model").read_bytes()), dict(zip("abcd", rows.tolist())), len(tokens))
    process = run("run", experiment({"model": {"path": str(out), "device": "cpu"}, "data.path": str(tmp_path / "random.tok"), "windows": {"length": 512},
                                     "sweep": None}), "--results", tmp_path / "results")
    assert process.returncode == 0, process.stderr
    ((_, row),) = read_rows(tmp_path / "results").items()
    rows = torch.nn.functional.pad(rows, (1, 0), value=1)
    with torch.no_grad():
        logits = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)(rows).logits[:, :-1].double()
    expected = float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()))
    assert row["metrics"]["nll"]["value"] == pytest.approx(expected, abs=2e-5)


# ---- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_are_rounded_once(run_script, tmp_path, dtype):
    written = write(tmp_path / "model.gguf", kind=gguf.GGMLQuantizationType.Q4_1)
    process = run_script("import_gguf.py", tmp_path / "model.gguf", tmp_path / "out", "--dtype", dtype)
    assert process.returncode == 0, process.stderr
    found, kind = load_file(tmp_path / "out/model.safetensors"), getattr(torch, dtype)
    for name, target in (("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"), ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight")):
        assert torch.equal(found[target], torch.from_numpy(written[name]).to(kind))
    assert json.loads((tmp_path / "out/config.json").read_text(encoding="utf-8"))["torch_dtype"] == dtype


def test_a_weight_that_float16_does_not_hold_is_named(tmp_path):
    write(tmp_path / "model.gguf")
    content = bytearray((tmp_path / "model.gguf").read_bytes())
    content[-4:] = np.float32(1e6).tobytes()
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(BadInput, match="holds NaN or infinity, or what is infinity in float16"):
        import_gguf.import_gguf(tmp_path / "model.gguf", tmp_path / "out", "float16")
    import_gguf.import_gguf(tmp_path / "model.gguf", tmp_path / "out", "float32")
